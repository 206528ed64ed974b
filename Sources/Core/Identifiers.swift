/// A UUID that says what it names, so that a run is never taken for a camera.
public struct Identifier<Named>: Sendable, Hashable, Comparable, BitwiseCopyable, Codable, CustomStringConvertible,
    LosslessStringConvertible
{
    public let uuid: UUID

    public init(_ uuid: UUID) { self.uuid = uuid }
    public init?(_ text: String) {
        guard let uuid = UUID(text) else { return nil }
        self.uuid = uuid
    }
    public init(from decoder: any Decoder) throws { uuid = try UUID(from: decoder) }
    public func encode(to encoder: any Encoder) throws { try uuid.encode(to: encoder) }

    public static func random() -> Self { Self(.random()) }
    public static func < (a: Self, b: Self) -> Bool { a.uuid < b.uuid }
    public var description: String { uuid.description }
}

public enum VaultName {}
public enum CameraName {}
public enum RunName {}
public enum EpochName {}
public enum HoldName {}
public enum EventName {}

public typealias VaultID = Identifier<VaultName>
public typealias CameraID = Identifier<CameraName>
/// One unbroken connection of a camera.
public typealias RunID = Identifier<RunName>
/// One camera and one UTC day.
public typealias EpochID = Identifier<EpochName>
/// One range of time that retention leaves alone until it is released.
public typealias HoldID = Identifier<HoldName>
/// Something noticed in a camera's footage.
public typealias EventID = Identifier<EventName>

/// Names an object: the SHA-256 of its sealed bytes.
///
/// Four words, and no array: a ledger has millions of them.
public struct ObjectID: Sendable, Hashable, Comparable, BitwiseCopyable, Codable, CustomStringConvertible {
    // The digest's bytes, eight each, the first the highest.
    private let first: UInt64
    private let second: UInt64
    private let third: UInt64
    private let fourth: UInt64

    /// Names no object.
    public static let zero = ObjectID(words: (0, 0, 0, 0))

    /// The digest's bytes, eight each, the first the highest.
    public init(words: (UInt64, UInt64, UInt64, UInt64)) { (first, second, third, fourth) = words }
    /// The digest's bytes, eight each, the first the highest.
    public var words: (UInt64, UInt64, UInt64, UInt64) { (first, second, third, fourth) }

    /// Exactly 32 bytes.
    public init?(digest: [UInt8]) {
        guard digest.count == 32 else { return nil }
        func word(_ place: Int) -> UInt64 { digest[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) } }
        self.init(words: (word(0), word(8), word(16), word(24)))
    }
    /// Its 32 bytes.
    public var digest: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { bytes, count in
            for (index, word) in [first, second, third, fourth].enumerated() {
                for place in 0..<8 { bytes[8 * index + place] = UInt8(truncatingIfNeeded: word >> (56 - 8 * place)) }
            }
            count = 32
        }
    }
    /// 64 hexadecimal digits.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 64, let digest = Hex.decode(text) else { return nil }
        self.init(digest: digest)
    }
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = ObjectID(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not 64 hexadecimal digits")
        }
        self = value
    }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
    public static func < (a: Self, b: Self) -> Bool { a.words < b.words }
    public var description: String { Hex.encode(digest) }
}
