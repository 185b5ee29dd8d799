import FoundationEssentials
import Glibc
import Host

/// The terminal or the pipes that a command talks to.
public struct Console: Sendable {
    /// Writes to standard output.
    public var write: @Sendable (String) -> Void
    /// Writes to standard error.
    public var writeError: @Sendable (String) -> Void
    /// Reads an answer of the operator; nil at the end of input.
    public var readAnswer: @Sendable () -> String?
    /// Standard output is a terminal.
    public var outputIsTerminal: Bool
    /// Standard error is a terminal, so that progress bars may move.
    public var errorIsTerminal: Bool
    /// How many characters fit into a line of the terminal behind standard output; nil when it does not say.
    public var columns: @Sendable () -> Int?
    /// How many lines it has; nil when it does not say.
    public var rows: @Sendable () -> Int?
    /// Somebody is there to answer a question.
    public var isInteractive: Bool
    /// `NO_COLOR` is not set.
    public var allowsColor: Bool
    /// The environment.
    public var variables: [String: String]
    /// Waits between two looks; the argument is in milliseconds.
    public var pause: @Sendable (UInt64) async throws -> Void
    /// Milliseconds of a clock that only moves forward.
    public var milliseconds: @Sendable () -> UInt64

    /// All fields.
    public init(
        write: @escaping @Sendable (String) -> Void, writeError: @escaping @Sendable (String) -> Void,
        readAnswer: @escaping @Sendable () -> String? = { nil }, outputIsTerminal: Bool = false,
        errorIsTerminal: Bool = false, columns: @escaping @Sendable () -> Int? = { nil },
        rows: @escaping @Sendable () -> Int? = { nil }, isInteractive: Bool = false, allowsColor: Bool = true,
        variables: [String: String] = [:], pause: @escaping @Sendable (UInt64) async throws -> Void,
        milliseconds: @escaping @Sendable () -> UInt64
    ) {
        self.write = write
        self.writeError = writeError
        self.readAnswer = readAnswer
        self.outputIsTerminal = outputIsTerminal
        self.errorIsTerminal = errorIsTerminal
        self.columns = columns
        self.rows = rows
        self.isInteractive = isInteractive
        self.allowsColor = allowsColor
        self.variables = variables
        self.pause = pause
        self.milliseconds = milliseconds
    }

    /// The console of this process.
    public static func standard() -> Console {
        let variables = ProcessInfo.processInfo.environment
        let started = ContinuousClock.now
        let isJournal = Journal.takesStandardError()
        return Console(
            write: { text in
                // Nobody reads any more: end as quietly as a program that SIGPIPE ends, and with its exit code.
                if !Self.write(text, to: STDOUT_FILENO) { exit(128 + SIGPIPE) }
            },
            writeError: { text in _ = Self.write(isJournal ? Journal.marked(.error, text) : text, to: STDERR_FILENO) },
            readAnswer: { readLine() },
            outputIsTerminal: isatty(STDOUT_FILENO) == 1, errorIsTerminal: isatty(STDERR_FILENO) == 1,
            columns: { Self.terminalSize().flatMap { $0.ws_col > 0 ? Int($0.ws_col) : nil } },
            rows: { Self.terminalSize().flatMap { $0.ws_row > 0 ? Int($0.ws_row) : nil } },
            isInteractive: isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1,
            allowsColor: (variables["NO_COLOR"] ?? "").isEmpty && variables["TERM"] != "dumb", variables: variables,
            pause: { try await Task.sleep(for: .milliseconds($0)) },
            milliseconds: {
                let elapsed = started.duration(to: .now).components
                return UInt64(elapsed.seconds) * 1000 + UInt64(elapsed.attoseconds / 1_000_000_000_000_000)
            })
    }

    private static func terminalSize() -> winsize? {
        var size = winsize()
        return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 ? size : nil
    }

    /// False when the other end of the pipe is closed; what fails otherwise has nobody to be told.
    private static func write(_ text: String, to descriptor: Int32) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                if count >= 0 {
                    done += count
                    continue
                }
                switch errno {
                case EINTR: continue
                case EAGAIN:
                    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&ready, 1, -1)
                case EPIPE: return false
                default: return true
                }
            }
            return true
        }
    }

    /// Replaces what the screen shows by a page; what does not fit is left out at the end, and counted.
    func showPage(_ page: String) {
        var lines = page.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        if let rows = self.rows(), rows > 1, lines.count > rows - 1 {
            let rest = lines.count - (rows - 2)
            lines = lines.prefix(max(0, rows - 2)) + ["… \(rest) more lines: the window is too small"]
        }
        self.write("\u{1B}[H\u{1B}[J" + lines.joined(separator: "\n") + "\n")
    }

    /// Colours for standard output.
    var style: Style {
        Style(isOn: self.outputIsTerminal && self.allowsColor, width: self.outputIsTerminal ? self.columns() : nil)
    }
    /// Colours for standard error.
    var errorStyle: Style { Style(isOn: self.errorIsTerminal && self.allowsColor) }
}

/// Colours, or none (they only repeat what the words say), and how wide a table may be.
struct Style: Sendable {
    enum Tone: String {
        case good = "32"
        case warning = "33"
        case bad = "31"
        case quiet = "2"
        case strong = "1"
        case plain = ""
    }
    var isOn: Bool
    /// In characters; nil where nobody looks at a screen.
    var width: Int?

    init(isOn: Bool, width: Int? = nil) {
        self.isOn = isOn
        self.width = width
    }

    func paint(_ text: String, _ tone: Tone) -> String {
        self.isOn && tone != .plain && !text.isEmpty ? "\u{1B}[\(tone.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// A sentence in lines that break between words where the screen ends; colours take no room.
    func wrapped(_ text: String, indent: String = "") -> [String] {
        guard let width = self.width, width > indent.count + 8 else { return [indent + text] }
        var lines: [String] = []
        var line = indent
        var used = indent.count
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            let length = Self.shownCount(word)
            if used > indent.count, used + 1 + length > width {
                lines.append(line)
                line = indent + "  " + word
                used = indent.count + 2 + length
            } else {
                let gap = used > indent.count ? " " : ""
                line += gap + word
                used += gap.count + length
            }
        }
        return lines + [line]
    }

    /// How many characters a text takes on the screen.
    private static func shownCount(_ text: Substring) -> Int {
        var count = 0
        var isInside = false
        for character in text.unicodeScalars {
            if character == "\u{1B}" {
                isInside = true
            } else if isInside {
                isInside = character != "m"
            } else {
                count += 1
            }
        }
        return count
    }
}
