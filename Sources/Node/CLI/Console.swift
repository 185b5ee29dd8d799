import Foundation
import Glibc

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
        errorIsTerminal: Bool = false, columns: @escaping @Sendable () -> Int? = { nil }, isInteractive: Bool = false,
        allowsColor: Bool = true,
        variables: [String: String] = [:], pause: @escaping @Sendable (UInt64) async throws -> Void,
        milliseconds: @escaping @Sendable () -> UInt64
    ) {
        self.write = write
        self.writeError = writeError
        self.readAnswer = readAnswer
        self.outputIsTerminal = outputIsTerminal
        self.errorIsTerminal = errorIsTerminal
        self.columns = columns
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
        return Console(
            write: { FileHandle.standardOutput.write(Data($0.utf8)) },
            writeError: { FileHandle.standardError.write(Data($0.utf8)) },
            readAnswer: { readLine() },
            outputIsTerminal: isatty(STDOUT_FILENO) == 1, errorIsTerminal: isatty(STDERR_FILENO) == 1,
            columns: {
                var size = winsize()
                return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : nil
            },
            isInteractive: isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1,
            allowsColor: (variables["NO_COLOR"] ?? "").isEmpty && variables["TERM"] != "dumb", variables: variables,
            pause: { try await Task.sleep(for: .milliseconds($0)) },
            milliseconds: {
                let elapsed = started.duration(to: .now).components
                return UInt64(elapsed.seconds) * 1000 + UInt64(elapsed.attoseconds / 1_000_000_000_000_000)
            })
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
}
