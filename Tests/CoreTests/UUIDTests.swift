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
}
