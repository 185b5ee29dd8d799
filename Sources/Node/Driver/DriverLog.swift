import Basis
import Glibc

/// Lines on standard error: time, level, text. A thread of its own writes them, so that a reader of standard error
/// that stalls never stalls a decision; when it stays stalled, lines are dropped and counted.
final class DriverLog: Sendable {
    /// How much a line matters.
    enum Level: String, Sendable {
        /// Ordinary progress.
        case info
        /// Works, but somebody should look.
        case warning
        /// Something that should work does not.
        case error

        /// What journald takes off the beginning of a line. (sd-daemon(3))
        var priority: String {
            switch self {
            case .info: "<6>"
            case .warning: "<4>"
            case .error: "<3>"
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
    private let state = WaitingLock(State())
    /// Standard error goes to the journal, which wants to be told how much a line matters.
    private let isJournal: Bool

    /// Starts the writing thread.
    init(journal: String? = getenv("JOURNAL_STREAM").map { String(cString: $0) }) {
        self.isJournal = journal.map { Self.isStandardError($0) } ?? false
        let state = self.state
        DriverThread.start("log") {
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
        let priority = self.isJournal ? level.priority : ""
        let line = "\(priority)\(Self.stamp(MachineClock.wallMilliseconds)) \(level.rawValue): \(text)\n"
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

    /// Whether `DEVICE:INODE` names the socket that standard error leads to. (systemd.exec(5), JOURNAL_STREAM)
    private static func isStandardError(_ stream: String) -> Bool {
        var target = [CChar](repeating: 0, count: 64)
        let count = readlink("/proc/self/fd/\(STDERR_FILENO)", &target, target.count)
        guard count > 0, let inode = stream.split(separator: ":").last else { return false }
        return String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) == "socket:[\(inode)]"
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
