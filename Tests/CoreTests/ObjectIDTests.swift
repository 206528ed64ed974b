import Core
import Testing

struct ObjectIDTests {
    @Test func `a name is its digest, whichever way it is given`() throws {
        let digest = (0..<32).map { UInt8($0 * 7 + 1) }
        let object = try #require(ObjectID(digest: digest))
        #expect(object.digest == digest)
        #expect(object.description == Hex.encode(digest))
        #expect(ObjectID(object.description) == object)
        #expect(ObjectID(words: object.words) == object)
        #expect(object.words.0 == 0x0108_0F16_1D24_2B32)
        #expect(ObjectID.zero.digest == [UInt8](repeating: 0, count: 32))
    }

    @Test(arguments: [0, 1, 31, 33, 64])
    func `nothing but 32 bytes is a name`(count: Int) {
        #expect(ObjectID(digest: [UInt8](repeating: 1, count: count)) == nil)
        #expect(ObjectID(String(repeating: "0", count: 2 * count)) == nil)
    }

    @Test func `names are in the order of their bytes`() {
        var generator = SystemRandomNumberGenerator()
        let objects = (0..<500).map { index in
            // Many alike at the beginning, and bytes on either side of a sign bit.
            let alike = [UInt8](repeating: 0x7F, count: index % 32)
            return ObjectID(
                digest: alike + (alike.count..<32).map { _ in UInt8.random(in: 0x7E...0x81, using: &generator) })!
        }
        #expect(
            objects.sorted().map(\.digest) == objects.map(\.digest).sorted { $0.lexicographicallyPrecedes($1) })
    }
}
