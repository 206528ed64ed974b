import Glibc

/// The clock and the processor time of this process.
enum Measurement {
    /// Seconds on CLOCK_MONOTONIC.
    static func now() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Seconds of processor time of all threads, user and kernel.
    static func cpu() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    struct Cost {
        var seconds: Double
        var cpuSeconds: Double
    }

    static func cost(_ body: () async throws -> Void) async throws -> Cost {
        let (wall, processor) = (now(), cpu())
        try await body()
        return Cost(seconds: now() - wall, cpuSeconds: cpu() - processor)
    }

    /// Ours and the yardstick in turn (A B A B …), after one unmeasured turn of each: what slows the machine down for a
    /// while slows both.
    static func interleaved(
        _ runs: Int, ours: () async throws -> Void, yardstick: () async throws -> Void
    ) async throws -> (ours: [Cost], yardstick: [Cost]) {
        try await ours()
        try await yardstick()
        return try await interleaved(runs, before: {}, ours: ours, yardstick: yardstick)
    }

    /// In turn, with something unmeasured before each.
    static func interleaved(
        _ runs: Int, before: () throws -> Void, ours: () async throws -> Void, yardstick: () async throws -> Void
    ) async throws -> (ours: [Cost], yardstick: [Cost]) {
        var result: (ours: [Cost], yardstick: [Cost]) = ([], [])
        for _ in 0..<runs {
            try before()
            result.ours.append(try await cost(ours))
            try before()
            result.yardstick.append(try await cost(yardstick))
        }
        return result
    }
}
