import Core
import Testing

@testable import Vault

@Suite struct RetryTests {
    private let error = VaultError(.unreachable, "no")

    @Test func `waits double up to a limit, and chance spreads them from nothing on`() {
        let policy = RetryPolicy(attempts: 100, firstMilliseconds: 200, longestMilliseconds: 30_000)
        #expect(
            (1...10).map { policy.wait(after: $0, chance: 1) } == [
                200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
            ])
        #expect(policy.wait(after: 5, chance: 0) == 0 && policy.wait(after: 5, chance: 0.5) == 1600)
        for attempt in [-1, 0, 63, 64, 1000, Int.max] {
            #expect((0...30_000).contains(policy.wait(after: attempt, chance: 1)))
        }
    }

    @Test func `V38: attempts are counted, and what the server asks for is kept within the limit`() {
        var machine = RetryMachine(RetryPolicy(attempts: 3, firstMilliseconds: 10, longestMilliseconds: 5000))
        guard case .retry(10) = machine.handle(.transient(error), chance: 1) else { return #expect(Bool(false)) }
        guard case .retry(5000) = machine.handle(.transient(error, after: 3_600_000), chance: 0) else {
            return #expect(Bool(false))
        }
        guard case .fail = machine.handle(.transient(error), chance: 0) else { return #expect(Bool(false)) }
    }

    @Test func `a clock is put right once`() {
        var machine = RetryMachine(RetryPolicy())
        guard case .correct(7) = machine.handle(.skewed(offset: 7, error), chance: 0) else {
            return #expect(Bool(false))
        }
        guard case .fail = machine.handle(.skewed(offset: 7, error), chance: 0) else { return #expect(Bool(false)) }
    }

    private func judge(
        _ status: Int, _ code: String = "", headers: [String: String] = [:], corrected: Int64 = 0
    ) -> (String, VaultError.Code?) {
        let body = code.isEmpty ? "" : "<Error><Code>\(code)</Code></Error>"
        let answer = HTTPAnswer(status: status, headers: headers, body: Array(body.utf8))
        let now = WallTime(seconds: 1_369_353_600)
        switch S3Judgement.judge(answer, what: "x", now: now, corrected: corrected) {
        case .done: return ("done", nil)
        case .transient(let error, let after): return ("transient \(after ?? 0)", error.code)
        case .skewed(let offset, let error): return ("skewed \(offset)", error.code)
        case .final(let error): return ("final", error.code)
        }
    }

    @Test func `V37: what an answer means`() {
        #expect(judge(200) == ("done", nil))
        #expect(judge(204) == ("done", nil))
        #expect(judge(200, "InternalError") == ("transient 0", .unreachable))
        #expect(judge(200, "AccessDenied") == ("final", .refused))
        #expect(judge(500) == ("transient 0", .unreachable))
        #expect(judge(503, "SlowDown", headers: ["retry-after": "7"]) == ("transient 7000", .unreachable))
        #expect(judge(503, headers: ["retry-after": "-7"]) == ("transient 0", .unreachable))
        #expect(judge(501) == ("final", .refused))
        #expect(judge(400, "BadDigest") == ("transient 0", .unreachable))
        #expect(judge(409, "ConditionalRequestConflict") == ("transient 0", .unreachable))
        #expect(judge(412, "PreconditionFailed") == ("final", .exists))
        #expect(judge(404, "NoSuchKey") == ("final", .notFound))
        #expect(judge(404, "NoSuchBucket") == ("final", .refused))
        #expect(judge(301, headers: ["x-amz-bucket-region": "eu-west-1"]) == ("final", .refused))
        #expect(judge(403, "AccessDenied", headers: ["date": "Fri, 24 May 2013 01:00:00 GMT"]) == ("final", .refused))
        #expect(
            judge(403, "RequestTimeTooSkewed", headers: ["date": "Fri, 24 May 2013 00:20:00 GMT"])
                == ("skewed 1200000000", .refused))
        #expect(judge(403, headers: ["date": "Thu, 23 May 2013 23:00:00 GMT"]) == ("skewed -3600000000", .refused))
        #expect(judge(403, "RequestTimeTooSkewed", headers: ["date": "now"]) == ("final", .refused))
        // A HEAD refused for want of rights, by a server whose time the request carried.
        #expect(
            judge(403, headers: ["date": "Thu, 23 May 2013 23:00:01 GMT"], corrected: -3_600_000_000)
                == ("final", .refused))
    }

    @Test(arguments: [(507, ""), (403, "QuotaExceeded"), (500, "XMinioStorageFull"), (200, "InsufficientStorage")])
    func `V13: a full remote is said so, and not asked over and over`(_ status: Int, _ code: String) {
        #expect(judge(status, code) == ("final", .refused))
    }

    @Test func `a part is exactly the part`() {
        func check(_ status: Int, _ value: String?, _ received: Int) -> Bool {
            let answer = HTTPAnswer(
                status: status, headers: value.map { ["content-range": $0] } ?? [:], received: received)
            return (try? S3Judgement.part(answer, .range(10..<20), what: "x").range) == 10..<20
        }
        #expect(check(206, "bytes 10-19/20", 10) && check(206, "bytes 10-19/1000", 10))
        #expect(!check(200, "bytes 10-19/1000", 10) && !check(206, nil, 10) && !check(206, "bytes 10-19/1000", 9))
        #expect(
            !check(206, "bytes 10-19/*", 10) && !check(206, "bytes 10-19/19", 10) && !check(206, "bytes 10-18/99", 10))
        #expect(!check(206, "bytes 0-19/1000", 10) && !check(206, "bytes 10-19", 10))
        #expect(!check(206, "bytes 10-+19/20", 10) && !check(206, "bytes 10-19/9223372036854775808", 10))
    }

    @Test func `an end is the end, also where it is the whole`() {
        func range(_ status: Int, _ headers: [String: String], _ received: Int) -> Range<Int>? {
            let answer = HTTPAnswer(status: status, headers: headers, received: received)
            return try? S3Judgement.part(answer, .suffix(10), what: "x").range
        }
        #expect(range(206, ["content-range": "bytes 90-99/100"], 10) == 90..<100)
        #expect(range(206, ["content-range": "bytes 0-4/5"], 5) == 0..<5)
        #expect(range(200, ["content-length": "5"], 5) == 0..<5)
        #expect(range(200, ["content-length": "0"], 0) == 0..<0)
        for (status, headers, received) in [
            (206, ["content-range": "bytes 80-89/100"], 10), (206, ["content-range": "bytes 91-99/100"], 9),
            (206, ["content-range": "bytes 90-99/*"], 10), (206, ["content-range": "bytes 89-99/100"], 11),
            (206, [:], 10), (200, [:], 5), (200, ["content-length": "6"], 5), (200, ["content-length": "11"], 11),
        ] { #expect(range(status, headers, received) == nil, "\(status) \(headers)") }
        #expect(RemotePart.Request.suffix(10).header == "bytes=-10")
        #expect(RemotePart.Request.range(10..<20).header == "bytes=10-19")
        for empty in [RemotePart.Request.suffix(0), .suffix(-1), .range(5..<5), .range(-1..<5)] {
            #expect(empty.header == nil)
        }
    }
}
