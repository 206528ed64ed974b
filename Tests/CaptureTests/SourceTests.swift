import Core
import Logging
import Media
import TestKit
import Testing

@testable import Capture

@Suite struct SourceTests {
    @Test(arguments: [
        "http://192.0.2.1/", "rtsp://", "file:relative.mp4", "test:?size=1x1", "test:?rate=0", "test:?colour=red",
        "exec:rm", "rtsp://a/\nb", "file:/x?loop=2", "", "rtsp://admin:12#34geheim@h/x", "rtsp://admin:12/34geheim@h/x",
    ])
    func `an address that cannot be used is refused`(text: String) {
        #expect(throws: CaptureError(.badAddress, "")) { try SourceAddress(text) }
    }

    @Test(arguments: [
        "rtsp://admin:geheim@192.0.2.1:554/stream", "rtsp://192.0.2.1/user=admin_password=geheim_channel=1",
        "rtsps://192.0.2.1/live?user=admin&password=geheim", "rtsp://192.0.2.1/live#geheim",
        "rtsp://admin:%23geheim@192.0.2.1/live",
    ])
    func `a password is never shown`(text: String) throws {
        let address = try SourceAddress(text)
        #expect(!address.description.contains("geheim"))
        #expect(address.description.contains("192.0.2.1"))
    }

    @Test func `the block code of CRC-16/CCITT-FALSE's check value`() {
        #expect(BlockCode.crc16(Array("123456789".utf8)) == 0x29B1)
    }

    @Test(arguments: [(640, 360), (320, 240), (1280, 720)])
    func `the drawn time survives compression at 300 kbit a second`(width: Int, height: Int) throws {
        var settings = TestPattern.Settings()
        settings.width = width
        settings.height = height
        settings.bitRate = 300_000
        var pattern = TestPattern(settings)
        let encoder = try Encoder(
            Encoder.Settings(width: width, height: height, rate: 25, keyInterval: 25, bitRate: 300_000))
        let decoder = try Decoder(encoder.parameters)
        var shown: [Int64: WallTime] = [:]
        var read = 0
        for frame in 0..<50 {
            let time = WallTime(microseconds: 1_795_597_864_412_939 + Int64(frame) * 40_017)
            pattern.draw(time, frame: frame)
            shown[Int64(frame) * 3600] = time
            for packet in try encoder.encode(
                luma: pattern.luma, cb: pattern.cb, cr: pattern.cr, pts: Int64(frame) * 3600)
            {
                for picture in try decoder.decode(packet.data, isKey: packet.isKey, pts: packet.pts) {
                    let found = BlockCodeReader.read(luma: picture.luma, width: picture.width, height: picture.height)
                    #expect(found == shown[picture.pts])
                    read += 1
                }
            }
        }
        #expect(read >= 48)
    }

    @Test func `the clock a person reads`() {
        #expect(TestPattern.clock(WallTime(microseconds: 1_795_597_864_412_939)) == "2026-11-25 09:11:04.412Z")
        #expect(TestPattern.clock(WallTime(microseconds: 951_782_400_000_000)) == "2000-02-29 00:00:00.000Z")
    }

    @Test func `a test camera delivers frames with exact times, and stops`() async throws {
        let source = CameraSource(
            try SourceAddress("test:?size=320x240&rate=25&gop=10"), time: SystemTime(), logger: Logger(label: "test"))
        var units = 0
        for await event in source.events() {
            if case .sound = event { Issue.record("it is silent") }
            if case .unit(let unit) = event {
                #expect(unit.captureTimeIsExact)
                units += 1
                if units == 15 { break }
            }
        }
        #expect(units == 15)
    }

    @Test(arguments: ["file:/nonexistent.mp4", "rtsp://127.0.0.1:1/x"])
    func `what cannot be reached is said, and tried again`(text: String) async throws {
        let source = CameraSource(try SourceAddress(text), time: SystemTime(), logger: Logger(label: "test"))
        var failures = 0
        for await event in source.events() {
            guard case .disconnected(let error) = event else { continue }
            #expect(error.code == .unreachable)
            failures += 1
            if failures == 2 { break }
        }
        #expect(failures == 2)
    }
}
