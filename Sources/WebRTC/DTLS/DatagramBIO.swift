import COpenSSL

/// A BIO that keeps datagrams apart, which a memory BIO would join.
final class DatagramQueue {
    var inbound: [[UInt8]] = []
    var outbound: [[UInt8]] = []

    /// The BIO borrows the queue: the owner of the SSL that takes the BIO must keep both alive together.
    func makeBIO() -> OpaquePointer? {
        guard let method = unsafe DatagramBIO.shared.method, let bio = unsafe BIO_new(method) else { return nil }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }
}

/// Owns the BIO_METHOD for the life of the process.
///
/// `@unchecked Sendable`: the method is never changed after `init`.
@safe private final class DatagramBIO: @unchecked Sendable {
    static let shared = DatagramBIO()
    let method: OpaquePointer?
    /// BIO_FLAGS_RWS.
    static let directions = BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL

    private init() {
        unsafe method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagram queue")
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            guard let queue = unsafe DatagramBIO.queue(bio), let bytes = unsafe bytes, count > 0 else { return -1 }
            unsafe BIO_clear_flags(bio, DatagramBIO.directions | BIO_FLAGS_SHOULD_RETRY)
            queue.outbound.append(unsafe Array(UnsafeRawBufferPointer(start: bytes, count: Int(count))))
            return count
        }
        unsafe BIO_meth_set_read(method) { bio, target, capacity in
            guard let queue = unsafe DatagramBIO.queue(bio), let target = unsafe target, capacity > 0 else { return -1 }
            unsafe BIO_clear_flags(bio, DatagramBIO.directions | BIO_FLAGS_SHOULD_RETRY)
            guard !queue.inbound.isEmpty else {
                unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return -1
            }
            let datagram = queue.inbound.removeFirst().prefix(Int(capacity))
            let buffer = unsafe UnsafeMutableRawBufferPointer(start: target, count: Int(capacity))
            unsafe buffer.copyBytes(from: datagram)
            return Int32(datagram.count)
        }
        unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH: 1
            case BIO_CTRL_DGRAM_QUERY_MTU: Int(DTLSSession.maximumDatagram)
            default: 0
            }
        }
    }

    private static func queue(_ bio: OpaquePointer?) -> DatagramQueue? {
        guard let data = unsafe BIO_get_data(bio) else { return nil }
        return unsafe Unmanaged<DatagramQueue>.fromOpaque(data).takeUnretainedValue()
    }
}
