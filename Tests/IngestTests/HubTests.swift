import Core
import Ingest
import Testing

@Suite struct HubTests {
    @Test func `a camera that is recorded no longer lets its viewers go, and takes no new ones`() async {
        let hub = Hub(camera: .random())
        let (_, frames) = hub.watch()
        #expect(hub.viewerCount == 1)
        hub.close()
        for await _ in frames { Issue.record("a frame came from nowhere") }
        let (group, later) = hub.watch()
        for await _ in later { Issue.record("a frame came from nowhere") }
        #expect(group.isEmpty && hub.viewerCount == 0)
    }
}
