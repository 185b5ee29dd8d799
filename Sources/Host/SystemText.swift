import Glibc

/// Texts that the system has for its numbers.
package enum SystemText {
    /// What an `errno` value means, in the system's words.
    package static func error(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The name of a signal.
    package static func signal(_ number: Int32) -> String {
        switch number {
        case SIGKILL: "SIGKILL"
        case SIGTERM: "SIGTERM"
        case SIGSEGV: "SIGSEGV"
        case SIGABRT: "SIGABRT"
        case SIGINT: "SIGINT"
        case SIGHUP: "SIGHUP"
        case SIGBUS: "SIGBUS"
        default: "signal \(number)"
        }
    }
}
