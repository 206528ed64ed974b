/// Very many values of one fixed size, one behind the other in a file without a name.
///
/// Not thread-safe while it is written; read by several threads afterwards.
@safe struct ScratchRecords<Record: BitwiseCopyable> {
    private let file = ScratchFile()
    private(set) var count = 0

    /// Errors: as `ScratchFile`.
    mutating func append(_ records: [Record]) throws(VaultError) {
        // Their bytes as they lie in memory: nobody else ever reads the file.
        _ = try file.append(unsafe records.withUnsafeBytes { bytes in unsafe Array(bytes) })
        count += records.count
    }

    /// Errors: as `ScratchFile`, also for a range that is not there.
    func read(_ range: Range<Int>) throws(VaultError) -> [Record] {
        let size = MemoryLayout<Record>.stride
        let bytes = try file.read(at: range.lowerBound * size, count: range.count * size)
        return unsafe [Record](unsafeUninitializedCapacity: range.count) { records, count in
            unsafe UnsafeMutableRawBufferPointer(records).copyBytes(from: bytes)
            count = range.count
        }
    }

    /// In the order in which they came, some thousand at a time.
    func each(_ body: (Record) throws(VaultError) -> Void) throws(VaultError) {
        var first = 0
        while first < count {
            let next = min(first + 4096, count)
            for record in try read(first..<next) { try body(record) }
            first = next
        }
    }
}

/// Sorts very many values in a memory of fixed size: what fits is sorted and put aside, and all that was put aside is merged.
struct ExternalSort<Record: BitwiseCopyable> {
    private let isBefore: (Record, Record) -> Bool
    private let capacity: Int
    private var records: [Record] = []
    private var aside = ScratchRecords<Record>()

    /// - Parameter capacity: values sorted at once. As many again are held while merging, as long as there are not more than
    ///   `capacity / 64` such parts.
    init(capacity: Int = 1 << 16, by isBefore: @escaping (Record, Record) -> Bool) {
        self.capacity = capacity
        self.isBefore = isBefore
    }

    /// Errors: as `ScratchFile`.
    mutating func append(_ record: Record) throws(VaultError) {
        records.append(record)
        if records.count == capacity { try putAside() }
    }

    private mutating func putAside() throws(VaultError) {
        records.sort(by: isBefore)
        try aside.append(records)
        records.removeAll(keepingCapacity: true)
    }

    /// Everything in order, once. Errors: as `ScratchFile`, and `body`'s.
    mutating func finish(_ body: (Record) throws(VaultError) -> Void) throws(VaultError) {
        guard aside.count > 0 else {
            records.sort(by: isBefore)
            for record in records { try body(record) }
            return
        }
        try putAside()
        records = []
        let parts = (aside.count + capacity - 1) / capacity
        let portion = max(64, capacity / parts)
        var heap: [Part] = []
        for first in stride(from: 0, to: aside.count, by: capacity) {
            var part = Part(rest: first..<min(first + capacity, aside.count))
            if try part.fill(aside, portion) { heap.append(part) }
        }
        for index in heap.indices.reversed() { sink(index, in: &heap) }
        while !heap.isEmpty {
            try body(heap[0].record)
            heap[0].index += 1
            if heap[0].index == heap[0].records.count {
                let isLeft = try heap[0].fill(aside, portion)
                if !isLeft {
                    heap.swapAt(0, heap.count - 1)
                    heap.removeLast()
                }
            }
            if !heap.isEmpty { sink(0, in: &heap) }
        }
    }

    /// A sorted part, some of which is in memory.
    private struct Part {
        var rest: Range<Int>
        var records: [Record] = []
        var index = 0
        var record: Record { records[index] }

        init(rest: Range<Int>) { self.rest = rest }

        /// False when nothing is left.
        mutating func fill(_ file: ScratchRecords<Record>, _ portion: Int) throws(VaultError) -> Bool {
            let next = min(rest.lowerBound + portion, rest.upperBound)
            records = try file.read(rest.lowerBound..<next)
            rest = next..<rest.upperBound
            index = 0
            return !records.isEmpty
        }
    }

    /// Of a heap whose first is the least: puts the part at `index` below those that are less.
    private func sink(_ index: Int, in heap: inout [Part]) {
        var index = index
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < heap.count {
                if isBefore(heap[child].record, heap[least].record) { least = child }
            }
            guard least != index else { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
