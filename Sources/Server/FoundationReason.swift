import Foundation

/// What Foundation throws about a file, in the few words of it that help a person.
struct FoundationReason: Error, CustomStringConvertible {
    let description: String

    init(_ error: any Error) {
        // Other errors than its own speak for themselves.
        guard let cocoa = error as? CocoaError else {
            description = "\(error)"
            return
        }
        if let cause = (cocoa as NSError).userInfo[NSUnderlyingErrorKey] as? any Error,
            case let cause = cause as NSError, cause.domain == NSPOSIXErrorDomain
        {
            description = unsafe String(cString: strerror(Int32(truncatingIfNeeded: cause.code)))
        } else {
            description = (cocoa as NSError).localizedFailureReason ?? "\(cocoa.code)"
        }
    }
}
