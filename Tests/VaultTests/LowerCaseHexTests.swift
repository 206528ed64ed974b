import Core
import Testing

@testable import Vault

struct LowerCaseHexTests {
    private static func object(_ text: [UInt8], at place: Int = 0) -> ObjectID? {
        unsafe text.withUnsafeBytes { unsafe ObjectID(lowerCase: $0, at: place) }
    }
    private static func uuid(_ text: [UInt8], at place: Int = 0) -> Core.UUID? {
        unsafe text.withUnsafeBytes { unsafe UUID(lowerCase: $0, at: place) }
    }
    private static let digits = Array("0123456789abcdef".utf8)

    @Test(arguments: 0..<64) func `at every place every digit is taken, and nothing else`(place: Int) {
        var text = Array(Array(repeating: Self.digits, count: 4).joined())
        for byte in UInt8.min...UInt8.max {
            text[place] = byte
            let expected = Self.digits.contains(byte) ? ObjectID(String(decoding: text, as: UTF8.self)) : nil
            #expect(Self.object(text) == expected)
            #expect(expected != nil || !Self.digits.contains(byte))
            #expect(ObjectID(fileName: String(decoding: text, as: UTF8.self)) == expected)
        }
    }

    @Test(arguments: 0..<36) func `so it is with a UUID and its hyphens`(place: Int) {
        let isHyphen = [8, 13, 18, 23].contains(place)
        var text = Array("01234567-89ab-cdef-fedc-ba9876543210".utf8)
        for byte in UInt8.min...UInt8.max {
            text[place] = byte
            let isRight = isHyphen ? byte == UInt8(ascii: "-") : Self.digits.contains(byte)
            let expected = isRight ? Core.UUID(String(decoding: text, as: UTF8.self)) : nil
            #expect(Self.uuid(text) == expected)
            #expect((expected != nil) == isRight)
        }
    }

    @Test func `what is too short or lies outside is none`() {
        let text = [UInt8](repeating: UInt8(ascii: "7"), count: 65)
        #expect(Self.object(text, at: 1) != nil)
        for place in [-1, 2, 64, 65, 66] { #expect(Self.object(text, at: place) == nil) }
        #expect(Self.object([]) == nil)
        let uuid = Array("-01234567-89ab-cdef-fedc-ba9876543210".utf8)
        #expect(Self.uuid(uuid, at: 1) != nil)
        for place in [-1, 0, 2, 37, 38] { #expect(Self.uuid(uuid, at: place) == nil) }
        #expect(Self.uuid([]) == nil)
    }
}
