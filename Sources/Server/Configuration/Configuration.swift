public import Capture
public import Vault

/// `sudocam.yaml`, read and checked whole; `schemas/config.md` describes it.
public struct Configuration: Sendable, Equatable {
    public struct Listen: Sendable, Equatable {
        public var host: String
        public var port: Int
        /// Plain HTTP is spoken on loopback only.
        public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
        public var url: String {
            "\(isLoopback ? "http" : "https")://\(host.contains(":") ? "[\(host)]" : host):\(port)/"
        }
    }

    public struct TLS: Sendable, Equatable {
        public var certificate: String
        public var key: String
    }

    public struct Camera: Sendable, Equatable {
        /// Stays when the camera is renamed; the camera's UUID is made from it and the vault's.
        public var key: String
        public var name: String
        public var source: SourceAddress
        /// Retention's byte budget of this camera alone.
        public var bytes: Int?
        /// Whether its sound is recorded.
        public var sound = true
    }

    /// What is kept; `docs/guide/retention.md` says how it is decided.
    public struct Retention: Sendable, Equatable {
        public struct Rule: Sendable, Equatable {
            /// Keys of cameras; nil: every camera.
            public var cameras: [String]?
            public var classes: [RetentionClass]?
            /// µs.
            public var keep: Int64?
            public var minimum: Int64 = 0
            public var preRoll: Int64 = 0
            public var postRoll: Int64 = 0
        }
        public var rules: [Rule] = []
        public var eachCamera: Int?
        public var total: Int?
        /// Nil: 1 GB, or a tenth of a smaller disk.
        public var keepFree: Int?
    }

    /// How often everything kept is read and compared with its name.
    public struct Scrub: Sendable, Equatable {
        /// µs; nil: never.
        public var every: Int64? = 30 * 86_400_000_000
        /// Bytes a second, unless `every` asks for more.
        public var rate = 10_000_000
    }

    /// Where the recorder takes the vault's passphrase, or an identity, from when it starts.
    public enum AutomaticUnlock: Sendable, Equatable {
        /// A name in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential`).
        case credential(String)
        case file(String)
    }

    /// How the owner is told of what goes wrong.
    public struct Notify: Sendable, Equatable {
        /// A program by its whole path, and its arguments; the sentence is one more. No shell.
        public var command: [String]
    }

    /// Folder of the vault; relative to the file's folder.
    public var vault: String
    public var listen = Listen(host: "127.0.0.1", port: 8480)
    public var tls: TLS?
    /// Host names that browsers may use besides the address itself; guards against DNS rebinding.
    public var hostNames: [String] = []
    /// One UDP port for all viewers.
    public var mediaPort = 8481
    /// Addresses to offer; empty: every address of this machine except containers' bridges.
    public var mediaAddresses: [String] = []
    public var clipSeconds = 60
    /// Minutes without a request or a viewer until the vault is locked; 0: never.
    public var lockAfterMinutes = 30
    /// Nil: only its owner unlocks the vault.
    public var unlock: AutomaticUnlock?
    public var retention = Retention()
    public var scrub = Scrub()
    /// Nil: page, status, metrics and log tell.
    public var notify: Notify?
    public var cameras: [Camera] = []
    /// Where the vault's last state is remembered; no key of the file. Nil: nowhere.
    public var pins: String?
    /// The file it was read from, to read it again; no key of the file. Nil: none.
    public var path: String?

    public init(vault: String) { self.vault = vault }
}

/// One thing wrong in `sudocam.yaml`.
public struct ConfigurationProblem: Sendable, Equatable, CustomStringConvertible {
    /// From 1; 0 for the file as a whole.
    public var line: Int
    public var message: String
    public var description: String { line > 0 ? "line \(line): \(message)" : message }
}
