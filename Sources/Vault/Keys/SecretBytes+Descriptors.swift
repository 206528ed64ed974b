import CSodium
import Core
import Glibc

/// Secrets from and to file descriptors, without a stop in memory that is not locked.
extension SecretBytes {
    /// Reads one line, or to the end, byte by byte so that what follows stays for the next reader; the newline is left out.
    ///
    /// Errors: `.invalid` when there are more than `limit` bytes, `.noSpace`.
    package static func line(from descriptor: Int32, limit: Int = 1024) throws(VaultError) -> SecretBytes {
        try unsafe read(limit: limit) { address in
            let count = unsafe Glibc.read(descriptor, address, 1)
            return unsafe count == 1 && address.load(as: UInt8.self) == UInt8(ascii: "\n") ? 0 : count
        }
    }

    /// Reads everything. Errors: `.invalid` when there are more than `limit` bytes, `.noSpace`.
    package static func contents(of descriptor: Int32, limit: Int = 4096) throws(VaultError) -> SecretBytes {
        try unsafe read(limit: limit) { address in unsafe Glibc.read(descriptor, address, 1) }
    }

    private static func read(
        limit: Int, _ next: (UnsafeMutableRawPointer) -> Int
    ) throws(VaultError) -> SecretBytes {
        _ = sodium
        guard let memory = unsafe sodium_malloc(limit + 1) else {
            throw VaultError(.noSpace, "There is no locked memory for a secret.")
        }
        defer { unsafe sodium_free(memory) }
        var count = 0
        while unsafe next(memory + count) == 1 {
            count += 1
            guard count <= limit else { throw VaultError(.invalid, "The secret is longer than \(limit) bytes.") }
        }
        return unsafe SecretBytes(copying: UnsafeRawBufferPointer(start: memory, count: count))
    }

    /// Writes it and a newline. False when the other side does not listen.
    package func writeLine(to descriptor: Int32) -> Bool {
        let written = try? unsafe withBytes { (bytes) throws(VaultError) -> Bool in
            var done = 0
            while done < bytes.count {
                guard let base = bytes.baseAddress else { break }
                let count = unsafe Glibc.write(descriptor, base + done, bytes.count - done)
                guard count > 0 else { return false }
                done += count
            }
            var newline = UInt8(ascii: "\n")
            return unsafe Glibc.write(descriptor, &newline, 1) == 1
        }
        return written ?? false
    }

    /// A line of a key file that says something about it, as age writes them.
    package var isComment: Bool {
        (try? unsafe withBytes { unsafe $0.first == UInt8(ascii: "#") }) ?? false
    }

    /// In constant time.
    package func isEqual(to other: SecretBytes) -> Bool {
        guard count == other.count else { return false }
        return
            (try? unsafe withPointer { (a) throws(VaultError) in
                try unsafe other.withPointer { (b) throws(VaultError) in unsafe sodium_memcmp(a, b, count) == 0 }
            }) ?? false
    }

    /// Whether it is a file with an age identity rather than a passphrase: a line begins with `AGE-SECRET-KEY-1`.
    package var holdsIdentity: Bool {
        (try? unsafe withBytes { (bytes) throws(VaultError) in
            unsafe bytes.split(separator: 10).contains { unsafe $0.starts(with: "AGE-SECRET-KEY-1".utf8) }
        }) ?? false
    }

    /// Without what follows the first newline. Errors: `.locked` after `wipe`.
    package func firstLine() throws(VaultError) -> SecretBytes {
        try unsafe withBytes { (bytes) throws(VaultError) in
            unsafe SecretBytes(copying: UnsafeRawBufferPointer(rebasing: bytes.prefix { $0 != 10 }))
        }
    }
}
