import Core
import Testing

@Suite struct UUIDTests {
    @Test func `text and bytes come back as they went in`() throws {
        let id = UUID.random()
        #expect(UUID(id.description) == id)
        #expect(UUID(bytes: id.bytes) == id)
        #expect(id.description.count == 36)
        #expect(Array(id.description)[14] == "4")
    }
    @Test(arguments: [
        "", "x", "00000000-0000-0000-0000-00000000000", "00000000+0000-0000-0000-000000000000",
        "g0000000-0000-0000-0000-000000000000",
    ])
    func `what is no UUID is refused`(text: String) { #expect(UUID(text) == nil) }

    @Test func `text is lower case, with hyphens where RFC 9562 has them`() {
        let id = UUID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
        #expect(id.description == "01234567-89ab-cdef-fedc-ba9876543210")
        #expect(UUID(high: 0, low: 1).description == "00000000-0000-0000-0000-000000000001")
        #expect(Hex.encode([0x00, 0x0f, 0xa0, 0xff]) == "000fa0ff")
        #expect(Hex.encode([0x00, 0x0f, 0xa0, 0xff].dropFirst()) == "0fa0ff")
        #expect(Hex.encode([]) == "")
    }
}
