import CAV

/// libavutil's error codes as sentences; logging is switched off because its lines would hold URLs with passwords.
enum AVFailure {
    static func text(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        unsafe av_strerror(code, &buffer, buffer.count)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static let quiet: Void = av_log_set_level(AV_LOG_QUIET)
}
