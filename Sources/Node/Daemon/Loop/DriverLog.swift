import Basis
import Glibc
import Host

/// Lines on standard error: time, or for the journal a mark, then level and text. A thread of its own writes them, so that a
/// reader of standard error that stalls never stalls a decision; when it stays stalled, lines are dropped and counted.
final class DriverLog: Sendable {
    /// How much a line matters.
    enum Level: String, Sendable {
        /// Ordinary progress.
        case info
        /// Works, but somebody should look.
        case warning
        /// Something that should work does not.
        case error

        /// The level of a note.
        init(_ severity: Severity) {
            switch severity {
            case .info: self = .info
            case .warning: self = .warning
            case .error: self = .error
            }
        }

        /// The same, as the journal counts.
        var priority: Journal.Priority {
            switch self {
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        }
    }

    private struct State {
        var lines: [String] = []
        var isWriting = false
        var dropped = 0
    }

    private static let linesMaximum = 4000
    private static let lengthMaximum = 2000
    private let state = Locked(State())
    /// Standard error goes to the journal, which wants to be told how much a line matters.
    private let isJournal = Journal.takesStandardError()

    /// Starts the writing thread.
    init() {
        let state = self.state
        SystemThread.start("log") {
            while true {
                let lines = state.wait { state -> [String]? in
                    guard !state.lines.isEmpty else { return nil }
                    var lines = state.lines
                    if state.dropped > 0 { lines.append("\(state.dropped) lines were dropped here\n") }
                    state.dropped = 0
                    state.lines.removeAll(keepingCapacity: true)
                    state.isWriting = true
                    return lines
                }
                Self.write(lines?.joined() ?? "")
                state.change { $0.isWriting = false }
            }
        }
    }

    /// Writes one line soon.
    func write(_ level: Level, _ text: String) {
        let text = ForeignText.line(text, limit: Self.lengthMaximum)
        let line = Self.line(level, text, at: MachineClock.wallMilliseconds, isJournal: self.isJournal)
        self.state.change { state in
            if state.lines.count < Self.linesMaximum { state.lines.append(line) } else { state.dropped += 1 }
        }
    }

    /// An ordinary line.
    func info(_ text: String) { self.write(.info, text) }
    /// A line that somebody should look at.
    func warning(_ text: String) { self.write(.warning, text) }
    /// A line about something broken.
    func error(_ text: String) { self.write(.error, text) }

    /// A line as it is written. The journal wants a mark, and has times of its own.
    static func line(_ level: Level, _ text: String, at milliseconds: UInt64, isJournal: Bool) -> String {
        "\(isJournal ? level.priority.mark : self.stamp(milliseconds) + " ")\(level.rawValue): \(text)\n"
    }

    /// Waits until everything is written, at most a second.
    func flush() {
        _ = self.state.wait(atMost: .seconds(1)) { state -> Bool? in
            state.lines.isEmpty && !state.isWriting ? true : nil
        }
    }

    /// `2025-11-22T15:04:05.678Z`.
    static func stamp(_ milliseconds: UInt64) -> String {
        var seconds = time_t(milliseconds / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func pad(_ value: Int, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let day = "\(pad(Int(parts.tm_year) + 1900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))-\(pad(Int(parts.tm_mday), 2))"
        let time = "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))"
        return "\(day)T\(time).\(pad(Int(milliseconds % 1000), 3))Z"
    }

    private static func write(_ text: String) {
        let bytes = Array(text.utf8)
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = Glibc.write(STDERR_FILENO, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                if count < 0, errno == EINTR { continue }
                if count < 0, errno == EAGAIN {
                    var ready = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&ready, 1, 1000)
                    continue
                }
                if count <= 0 { return }
                done += count
            }
        }
    }
}
