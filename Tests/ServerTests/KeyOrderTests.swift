import Testing
import Vault

@testable import Server

@Suite struct KeyOrderTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func `an order is complete with its last secret, and is wiped where it came in`() throws {
        let whole =
            "key\n{\"action\":\"changePassphrase\",\"credential\":\"passphrase\",\"newPassphrase\":true,\"force\":false,\"plain\":false}\nold one\nnew one\n"
        for count in whole.utf8.indices.map({ whole.utf8.distance(from: whole.utf8.startIndex, to: $0) }) {
            var part = Array(bytes(whole).prefix(count))
            #expect(KeyOrder(&part) == nil, "complete after \(count) bytes")
            #expect(part == Array(bytes(whole).prefix(count)))
        }
        var all = bytes(whole)
        let order = try #require(KeyOrder(&all))
        #expect(order.request?.action == .changePassphrase)
        #expect(order.secrets.map { $0.revealed() } == ["old one", "new one"])
        #expect(all.allSatisfy { $0 == 0 })
    }

    @Test func `what makes no sense is an order without a request, not a wait for ever`() throws {
        for line in [
            "", "{}", "[]", "null", "{\"action\":\"open\",\"credential\":\"passphrase\"}", "\u{0}\u{1}",
            "{\"action\":5}",
        ] {
            var request = bytes("key\n\(line)\n")
            let order = try #require(KeyOrder(&request), "\(line)")
            #expect(order.request == nil && order.secrets.isEmpty)
        }
    }
}
