import CSodium
import Core
import Synchronization

/// A secret in memory of its own (`sodium_malloc`: guarded, locked against swap, wiped when freed).
///
/// A class and not a `~Copyable` struct because it crosses escaping closures to the threads that do the work; the
/// bytes themselves are never copied. `wipe` makes every later use fail, whoever still holds a reference.
public final class SecretBytes: Sendable {
    public let count: Int
    /// Owns the allocation; the address never leaves `withBytes`.
    private let memory: Mutex<Memory>

    /// - Parameter fill: writes the secret; runs once.
    init(count: Int, fill: (inout [UInt8]) -> Void = { _ in }) {
        self.count = count
        var staged = [UInt8](repeating: 0, count: count)
        fill(&staged)
        memory = Mutex(Memory(staged.prefix(count)))
        wipeBytes(&staged)
    }

    /// Takes the bytes over and wipes the array it was given, as far as it is not shared.
    public init(_ bytes: inout [UInt8]) {
        count = bytes.count
        memory = Mutex(Memory(bytes[...]))
        wipeBytes(&bytes)
    }

    /// A copy of memory that is somebody else's to wipe.
    init(copying source: UnsafeRawBufferPointer) {
        count = source.count
        unsafe memory = Mutex(Memory(source))
    }

    /// A copy of a text, for tests and terminals; the text itself cannot be wiped.
    public convenience init(text: String) {
        var bytes = Array(text.utf8)
        self.init(&bytes)
    }

    static func random(count: Int) -> SecretBytes {
        _ = sodium
        return SecretBytes(count: count) { bytes in
            fillRandom(&bytes)
        }
    }

    /// Overwrites the secret now; later uses throw `.locked`.
    public func wipe() { memory.withLock { $0.wipe() } }

    /// The secret as text, for showing it to the owner once.
    public func revealed() -> String {
        (try? unsafe withBytes { bytes in unsafe String(decoding: bytes, as: UTF8.self) }) ?? ""
    }

    /// Lends the bytes. Errors: `.locked` after `wipe`.
    func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(VaultError) -> Result
    ) throws(VaultError) -> Result {
        try memory.withLock { (memory) throws(VaultError) -> Result in
            guard let bytes = unsafe memory.bytes else { throw VaultError(.locked, "The key was wiped from memory.") }
            return try unsafe body(bytes)
        }
    }

    /// Lends the address of the first byte. Errors: `.locked` after `wipe`.
    func withPointer<Result>(_ body: (UnsafePointer<UInt8>) throws(VaultError) -> Result) throws(VaultError) -> Result {
        try unsafe withBytes { (bytes) throws(VaultError) -> Result in
            guard let base = bytes.baseAddress else { throw VaultError(.locked, "The key is empty.") }
            return try unsafe body(base.assumingMemoryBound(to: UInt8.self))
        }
    }

    @safe private struct Memory: ~Copyable, @unchecked Sendable {  // reached only under the mutex
        private var address: UnsafeMutableRawPointer?
        private let count: Int

        init(_ source: ArraySlice<UInt8>) {
            unsafe address = nil
            count = source.count
            unsafe source.withUnsafeBytes { unsafe take($0) }
        }
        init(_ source: UnsafeRawBufferPointer) {
            unsafe address = nil
            count = source.count
            unsafe take(source)
        }
        private mutating func take(_ source: UnsafeRawBufferPointer) {
            _ = sodium
            unsafe address = sodium_malloc(max(1, source.count))
            if let address = unsafe address, let base = source.baseAddress, count > 0 {
                unsafe address.copyMemory(from: base, byteCount: source.count)
            }
        }
        deinit { if let address = unsafe address { unsafe sodium_free(address) } }

        var bytes: UnsafeRawBufferPointer? {
            guard let address = unsafe address else { return nil }
            return unsafe UnsafeRawBufferPointer(start: address, count: count)
        }
        mutating func wipe() {
            if let address = unsafe address { unsafe sodium_free(address) }
            unsafe address = nil
        }
    }
}

extension SecretBytes {
    /// Whether this process may lock memory, so that no secret is written to swap. `sodium_malloc` does without where it may not.
    public static var canLockMemory: Bool {
        _ = sodium
        guard let memory = unsafe sodium_malloc(1) else { return false }
        defer { unsafe sodium_free(memory) }
        return unsafe sodium_mlock(memory, 1) == 0
    }
}

/// Libsodium, made ready once; safe from any thread (`sodium_init` is idempotent).
let sodium: Int32 = sodium_init()

/// Overwrites without the compiler taking it away (`sodium_memzero`).
func wipeBytes(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { buffer in
        if let base = buffer.baseAddress { unsafe sodium_memzero(base, buffer.count) }
    }
}

private func fillRandom(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { buffer in
        if let base = buffer.baseAddress { unsafe randombytes_buf(base, buffer.count) }
    }
}

/// Bytes nobody can guess, not secret themselves (nonces).
func randomBytes(_ count: Int) -> [UInt8] {
    _ = sodium
    var bytes = [UInt8](repeating: 0, count: count)
    fillRandom(&bytes)
    return bytes
}
