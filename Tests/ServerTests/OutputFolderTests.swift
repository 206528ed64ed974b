import Foundation
import TestKit
import Testing

@testable import Server

@Suite struct OutputFolderTests {
    private struct Failure: Error {}
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private var place: String { folder.path + "/day" }
    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }
    private func put(_ text: String, _ path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test func `it gets its name when it is whole, and is its owner's alone until then`() async throws {
        let output = try OutputFolder(place + "//", mark: "mark")
        #expect(try names() == [], "nothing is made before it is filled")
        try await output.write {
            #expect(try names() == ["day.mark.part"])
            let rights = try FileManager.default.attributesOfItem(atPath: output.part)[.posixPermissions] as? Int
            #expect(rights == 0o700)
            try put("key", output.part + "/identity.txt")
            try output.makeFolder("objects")
        }
        #expect(try names() == ["day"] && output.path == place)
        #expect(try FileManager.default.contentsOfDirectory(atPath: place).sorted() == ["identity.txt", "objects"])
        #expect(throws: ServerError(.refused, "")) { try OutputFolder(place + "/") }
    }

    @Test func `an error leaves nothing of it, and its place free`() async throws {
        let output = try OutputFolder(place)
        await #expect(throws: Failure.self) {
            try await output.write {
                try put("key", output.part + "/identity.txt")
                throw Failure()
            }
        }
        #expect(try names() == [])
        try await OutputFolder(place).write {}
        #expect(try names() == ["day"])
    }

    @Test func `what takes its place meanwhile is not replaced, and the key does not stay beside it`() async throws {
        let output = try OutputFolder(place)
        await #expect(throws: ServerError(.refused, "")) {
            try await output.write {
                try put("key", output.part + "/identity.txt")
                try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: false)
            }
        }
        #expect(try names() == ["day"])
    }

    @Test func `what somebody else keeps under the name it is filled under is not touched`() async throws {
        let foreign = place + ".mark.part"
        try FileManager.default.createDirectory(atPath: foreign, withIntermediateDirectories: false)
        try put("mine", foreign + "/precious.txt")
        let output = try OutputFolder(place, mark: "mark")
        await #expect(throws: ServerError(.refused, "")) { try await output.write {} }
        #expect(try FileManager.default.contentsOfDirectory(atPath: foreign) == ["precious.txt"])
        #expect(try names() == ["day.mark.part"])
    }

    /// `abandon` does not return where there is something to abandon: real programs are broken off in `Tests/PeerTests`.
    @Test func `a signal that comes when it is over changes nothing`() async throws {
        let whole = try OutputFolder(place)
        try await whole.write {}
        whole.abandon { _ in fatalError("it stands under its name already") }
        let failed = try OutputFolder(place + "2")
        await #expect(throws: Failure.self) { try await failed.write { throw Failure() } }
        failed.abandon { _ in fatalError("the error is told already") }
        #expect(try names() == ["day"])
    }
}

@Suite struct OutputFileTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }
    private var place: String { folder.path + "/hall.mp4" }
    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    @Test func `what stands in its place is kept until the new one is whole, where it may be replaced at all`() throws {
        try folder.write([1], to: "hall.mp4")
        #expect(throws: ServerError(.refused, "")) { try OutputFile(place) }
        let failed = try OutputFile(place, replaces: true)
        try failed.append([2, 2])
        #expect(try folder.contents("hall.mp4") == [1])
        failed.discard()
        #expect(try names() == ["hall.mp4"] && folder.contents("hall.mp4") == [1])
        let whole = try OutputFile(place, replaces: true)
        try whole.append([2])
        try whole.append([3])
        try whole.publish()
        whole.discard()
        whole.abandon { _ in fatalError("it stands under its name already") }
        #expect(try names() == ["hall.mp4"] && folder.contents("hall.mp4") == [2, 3])
        let rights = try FileManager.default.attributesOfItem(atPath: place)[.posixPermissions] as? Int
        #expect(rights == 0o600)
    }

    @Test func `what another program keeps beside it under a like name is not touched`() throws {
        try folder.write([7], to: "hall.mp4.part")
        let file = try OutputFile(place, replaces: true)
        try file.append([2])
        try file.publish()
        #expect(try folder.contents("hall.mp4.part") == [7])
    }
}
