import ArgumentParser
import Core
import Foundation
import Glibc
import Server
import Vault

struct ConfigurationOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The configuration file.")
    var config = "sudocam.yaml"

    func read() throws -> Configuration { try ConfigurationReader.read(config) }
}

struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON document instead of text.")
    var json = false

    func print(_ value: some Encodable, text: () -> String) throws {
        guard json else {
            let text = text()
            if !text.isEmpty { Swift.print(text) }
            return
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        Swift.print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}

struct PassphraseOptions: ParsableArguments {
    @Option(help: "Read the passphrase from this file descriptor instead of the terminal.")
    var passphraseFD: Int32?

    /// One line, from the terminal without echo or from the descriptor, straight into locked memory.
    ///
    /// - Parameters:
    ///   - twice: a terminal is asked once more.
    ///   - prompt: what is wanted, and a colon.
    ///   - isIdentity: lines that begin with `#`, as key files have them, are passed over.
    func read(
        twice: Bool = false, prompt: String = "Passphrase: ", isIdentity: Bool = false
    ) throws -> SecretBytes {
        let name = prompt.prefix(1).lowercased() + prompt.dropFirst().prefix { $0 != ":" && $0 != "(" }
        let what = name.trimmingCharacters(in: .whitespaces)
        if let passphraseFD {
            guard fcntl(passphraseFD, F_GETFD) >= 0 else {
                throw CommandFailure("The \(what) cannot be read: there is no descriptor \(passphraseFD).")
            }
            while true {
                let line = try Self.line(from: passphraseFD, what)
                if !isIdentity || !line.isComment { return line }
            }
        }
        guard isatty(STDIN_FILENO) == 1 else {
            throw CommandFailure("There is no terminal to ask for the \(what). Give it with --passphrase-fd 0.")
        }
        let first = try Self.ask(prompt, what)
        if twice {
            let second = try Self.ask("Once more: ", what)
            defer { second.wipe() }
            guard first.isEqual(to: second) else { throw CommandFailure("The two passphrases differ.") }
        }
        return first
    }

    private static func ask(_ prompt: String, _ what: String) throws -> SecretBytes {
        FileHandle.standardError.write(Data(prompt.utf8))
        Echo.off()
        defer {
            Echo.on()
            FileHandle.standardError.write(Data("\n".utf8))
        }
        return try line(from: STDIN_FILENO, what)
    }

    /// True for `yes`, with echo.
    static func confirm(_ prompt: String) -> Bool {
        FileHandle.standardError.write(Data(prompt.utf8))
        return readLine() == "yes"
    }

    private static func line(from descriptor: Int32, _ what: String) throws -> SecretBytes {
        let secret: SecretBytes
        do { secret = try SecretBytes.line(from: descriptor) } catch {
            guard error.code == .invalid else { throw error }
            throw CommandFailure("The \(what) is longer than 1024 bytes.")
        }
        guard secret.count > 0 else {
            throw CommandFailure("The \(what) is empty, or its line is missing.")
        }
        return secret
    }
}

/// The terminal's echo, off while a secret is typed. Who ends the program then shall not be left with a terminal that shows
/// nothing.
private enum Echo {
    // Written before the handlers are there, read by them.
    nonisolated(unsafe) private static var before = termios()

    static func off() {
        unsafe tcgetattr(STDIN_FILENO, &before)
        var quiet = unsafe before
        quiet.c_lflag &= ~tcflag_t(ECHO)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                // Both may be called by a handler (signal-safety(7)).
                unsafe tcsetattr(STDIN_FILENO, TCSANOW, &Echo.before)
                signal(number, SIG_DFL)
                raise(number)
            }
        }
        unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet)
    }
    static func on() {
        unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
        for number in [SIGINT, SIGTERM, SIGHUP] { signal(number, SIG_DFL) }
    }
}

struct CommandFailure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Runs a command's body; a failure becomes one sentence and the exit code of `schemas/exit-codes.md`.
func reporting(_ body: () async throws -> Void) async throws {
    // Before anything secret is read: no core file, and no other process may look in.
    Hardening.apply()
    do {
        try await body()
    } catch let code as ExitCode {
        throw code
    } catch {
        FileHandle.standardError.write(Data("sudocam: \(error)\n".utf8))
        if let error = error as? VaultError, error.code == .wrongPassphrase { throw ExitCode(3) }
        switch (error as? ServerError)?.code {
        case .wrongPassphrase, .tooManyAttempts: throw ExitCode(3)
        case .noService: throw ExitCode(4)
        default: throw ExitCode(1)
        }
    }
}

/// One line that is overwritten; only on a terminal.
struct ProgressLine: Sendable {
    let isShown = isatty(STDERR_FILENO) == 1

    func show(_ text: String) {
        if isShown { FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8)) }
    }
    func end() { if isShown { FileHandle.standardError.write(Data("\r\u{1B}[K".utf8)) } }
}

func megabytes(_ bytes: Int) -> String { "\(bytes / 1_000_000) MB" }
