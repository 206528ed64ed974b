import Core
import Vault

/// What `sudocam witness` remembers: the newest head of a ledger, by the place where it was shown. A ledger is known by its vault
/// wherever it is shown; the place tells whether it shows another vault than before.
struct WitnessPins {
    private let store: PinStore
    private var pins: [String: CheckpointPin]

    /// Errors: `.configuration`.
    init(path: String) throws(ServerError) {
        store = PinStore(path: path, name: "")
        pins = try store.all()
    }

    /// What was shown last at this place, under any spelling of its address: older versions kept each.
    func last(at place: String) -> CheckpointPin? {
        pins.filter { Self.place($0.key) == place }.values.max { $0.seen < $1.seen }
    }

    /// The longest ledger of a vault that was seen, and where.
    func newest(of vault: VaultID) -> (place: String, pin: CheckpointPin)? {
        pins.filter { $0.value.vault == vault }.max { ($0.value.size, $0.value.seen) < ($1.value.size, $1.value.seen) }
            .map { (Self.place($0.key), $0.value) }
    }

    /// Durable on return.
    ///
    /// - Parameter isBeginning: nothing that was seen at this place, or of this vault anywhere, counts any more.
    mutating func keep(_ pin: CheckpointPin, at place: String, isBeginning: Bool) throws(ServerError) {
        // Another witness may have written meanwhile.
        pins = try store.all()
        if isBeginning {
            for (name, other) in pins where other.vault == pin.vault || Self.place(name) == place { pins[name] = pin }
        }
        pins[place] = pin
        do throws(ServerError) { try store.save(all: pins) } catch {
            throw ServerError(
                error.code, "\(store.path ?? "") cannot be written: what was seen now is not remembered.",
                hint: "Choose another file with --pins.", underlying: error.underlying)
        }
    }

    private static func place(_ name: String) -> String {
        guard name.contains("://") else { return name }
        return (try? WitnessClient(name, fingerprint: nil))?.name ?? name
    }
}
