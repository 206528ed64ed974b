import Foundation

/// A program's standard output for an input. By way of files: Foundation's pipes fail when a signal interrupts them.
public func outputOfProgram(_ program: String, _ arguments: [String], _ input: [UInt8] = []) throws -> [UInt8] {
    let folder = try TemporaryFolder()
    try folder.write(input, to: "in")
    try folder.write([], to: "out")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardInput = FileHandle(forReadingAtPath: folder.path + "/in")
    process.standardOutput = FileHandle(forWritingAtPath: folder.path + "/out")
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return try folder.contents("out")
}
