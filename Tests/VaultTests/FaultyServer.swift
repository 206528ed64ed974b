import Glibc
import Synchronization

/// An HTTP/1.1 server on the loopback that answers as a test says, byte by byte: whole answers, halves, none.
final class FaultyServer: Sendable {
    struct Request: Sendable {
        var method: String
        /// As on the wire.
        var target: String
        var headers: [String: String]
        var body: [UInt8]
        /// Which connection it came in on.
        var connection: Int
    }
    enum Reply: Sendable {
        case answer(_ status: Int, _ headers: [(String, String)] = [], _ body: [UInt8] = [])
        /// Promises `promised` bytes and breaks off after the body.
        case half(_ status: Int, promised: Int, _ body: [UInt8])
        /// Closes without a word.
        case hangUp
        /// Says nothing for as long as the client holds out.
        case silence

        static func xml(_ status: Int, _ text: String, _ headers: [(String, String)] = []) -> Reply {
            .answer(status, headers, Array(text.utf8))
        }
        static func error(_ status: Int, _ code: String, _ headers: [(String, String)] = []) -> Reply {
            .xml(status, "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>m</Message></Error>", headers)
        }
    }

    let port: UInt16
    private let descriptor: Int32
    private let reply: @Sendable (Request, Int) -> Reply
    private let seen = Mutex<[Request]>([])
    private let connections = Mutex(0)
    var requests: [Request] { seen.withLock { $0 } }
    var url: String { "http://127.0.0.1:\(port)/vault/home" }

    /// - Parameter reply: gets the request and how many came before it.
    init(_ reply: @escaping @Sendable (Request, Int) -> Reply) throws {
        self.reply = reply
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, size) == 0 && listen(descriptor, 64) == 0
                    && getsockname(descriptor, pointer, &size) == 0
            }
        }
        guard descriptor >= 0, bound else { throw Failed() }
        self.descriptor = descriptor
        port = UInt16(bigEndian: address.sin_port)
        spawn {
            while true {
                let client = accept(descriptor, nil, nil)
                guard client >= 0 else { return }
                let number = self.connections.withLock { count in
                    count += 1
                    return count
                }
                self.spawn { self.serve(client, number) }
            }
        }
    }
    struct Failed: Error {}

    /// Ends the accepting thread; the others end with their clients.
    func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    private func spawn(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Box(body)).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            }, context)
        pthread_detach(thread)
    }

    private func serve(_ client: Int32, _ connection: Int) {
        defer { close(client) }
        var buffer: [UInt8] = []
        while let request = read(client, &buffer, connection) {
            let number = seen.withLock { seen in
                seen.append(request)
                return seen.count - 1
            }
            switch reply(request, number) {
            case .answer(let status, let headers, let body):
                var head = "HTTP/1.1 \(status) X\r\n"
                for (name, value) in headers { head += "\(name): \(value)\r\n" }
                // RFC 9112, 6.3: these two never have a body.
                if status != 204, !headers.contains(where: { $0.0.lowercased() == "content-length" }) {
                    head += "Content-Length: \(body.count)\r\n"
                }
                guard write(client, Array((head + "\r\n").utf8) + (request.method == "HEAD" ? [] : body)) else {
                    return
                }
            case .half(let status, let promised, let body):
                _ = write(client, Array("HTTP/1.1 \(status) X\r\nContent-Length: \(promised)\r\n\r\n".utf8) + body)
                return
            case .hangUp: return
            case .silence:
                var byte: UInt8 = 0
                _ = recv(client, &byte, 1, 0)
                return
            }
        }
    }

    private func write(_ client: Int32, _ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { bytes in
                send(client, bytes.baseAddress.map { $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    private func read(_ client: Int32, _ buffer: inout [UInt8], _ connection: Int) -> Request? {
        func more() -> Bool {
            var piece = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(client, &piece, piece.count, 0)
            guard count > 0 else { return false }
            buffer += piece[..<count]
            return true
        }
        func headEnd() -> Int? {
            guard buffer.count >= 4 else { return nil }
            return (0...(buffer.count - 4)).first { buffer[$0..<$0 + 4].elementsEqual([13, 10, 13, 10]) }
        }
        while headEnd() == nil { guard more() else { return nil } }
        guard let end = headEnd() else { return nil }
        let lines = String(decoding: buffer[..<end], as: UTF8.self).split(separator: "\r\n")
        let first = lines.first?.split(separator: " ") ?? []
        guard first.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts.count == 2 ? String(parts[1].drop { $0 == " " }) : ""
        }
        let count = headers["content-length"].flatMap { Int($0) } ?? 0
        while buffer.count < end + 4 + count { guard more() else { return nil } }
        let body = Array(buffer[(end + 4)..<(end + 4 + count)])
        buffer.removeFirst(end + 4 + count)
        return Request(
            method: String(first[0]), target: String(first[1]), headers: headers, body: body, connection: connection)
    }
}
