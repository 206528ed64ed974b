import Core
import Foundation
import Testing
import WebRTC

/// One at a time: libusrsctp's state belongs to one thread.
@Suite(.serialized) struct PeerTestSuite {}

extension PeerTestSuite {
    @Suite(.serialized) struct InteropTests {
        static let hasChromium = Interop.find("chromium") != nil && Interop.find("ffmpeg") != nil && Interop.host != nil
        static let hasAiortc = Interop.aiortcPython != nil && Interop.find("ffmpeg") != nil && Interop.host != nil

        @Test(
            .enabled(if: hasChromium, "chromium, ffmpeg and an address beside loopback are needed"),
            arguments: ["baseline", "high"])
        func `W25 W28 W20 Chromium shows the video and both ends talk on the data channel`(profile: String) throws {
            let interop = try Interop()
            let script = Interop.scripts.appending(path: "browser_peer.py").path
            let result = try interop.run(
                ["/usr/bin/python3", script, "90"], units: try Interop.video(["-profile:v", profile]))
            let summary = Comment(rawValue: "\(result) \(interop.events) \(interop.statistics)")
            #expect(result["frames"] as? Int ?? 0 >= 90, summary)
            #expect(result["lost"] as? Int == 0, summary)
            #expect(result["width"] as? Int == 640)
            let messages = result["messages"] as? [Any] ?? []
            #expect(messages.first as? String == "pong")
            #expect(messages.dropFirst().first as? [Int] == [1, 2, 3])
            #expect(result["channelCloseMs"] as? Double ?? 9999 < 1000, summary)
            #expect(result["reopened"] as? Bool == true, summary)
            #expect(interop.answer.contains("profile-level-id=42e01f"))
            #expect(interop.events.contains(.message(channel: 0, bytes: [], isText: true)))
            #expect(interop.events.last == .closed(.remote), summary)
        }

        @Test(.enabled(if: hasChromium, "chromium, ffmpeg and an address beside loopback are needed"))
        func `W31 Chromium recovers from 5 percent loss by RTX`() throws {
            let interop = try Interop()
            interop.lossPercent = 5
            let script = Interop.scripts.appending(path: "browser_peer.py").path
            let result = try interop.run(
                ["/usr/bin/python3", script, "120"], units: try Interop.video(["-b:v", "4M"], size: "1280x720"))
            let summary = Comment(rawValue: "\(result) \(interop.events) \(interop.statistics)")
            #expect(result["frames"] as? Int ?? 0 >= 110, summary)
            #expect(result["rtx"] as? Int ?? 0 > 0, summary)
            #expect(interop.statistics.retransmissions > 0)
        }

        @Test(.enabled(if: hasChromium, "chromium, ffmpeg and an address beside loopback are needed"))
        func `W4 Chromium connects while it hides its addresses behind mDNS names`() throws {
            let interop = try Interop()
            let script = Interop.scripts.appending(path: "browser_peer.py").path
            let result = try interop.run(["/usr/bin/python3", script, "30", "mdns"], units: try Interop.video([]))
            let summary = Comment(rawValue: "\(result) \(interop.events) \(interop.statistics)")
            #expect(interop.offer.contains(".local "), summary)
            #expect(result["frames"] as? Int ?? 0 >= 30, summary)
        }

        @Test(.enabled(if: hasAiortc, "SUDOCAM_AIORTC_PYTHON names no Python with aiortc"))
        func `aiortc decodes the video and talks on the data channel`() throws {
            let interop = try Interop()
            let script = Interop.scripts.appending(path: "aiortc_peer.py").path
            let result = try interop.run(
                [Interop.aiortcPython ?? "", script, "60"], units: try Interop.video(["-profile:v", "baseline"]))
            let summary = Comment(rawValue: "\(result) \(interop.events) \(interop.statistics)")
            #expect(result["frames"] as? Int ?? 0 >= 60, summary)
            #expect((result["messages"] as? [Any])?.count == 3, summary)
            #expect(interop.events.last == .closed(.remote), summary)
        }
    }
}
