import Glibc
import Host

/// What the guard says about its watchdog in a file of the run directory, for `status`.
public struct WatchdogNote: Equatable, Sendable {
    /// A device is armed, and resets a machine whose guard is not scheduled.
    public var isArmed: Bool
    /// Which, or why none.
    public var text: String

    /// A note from its parts.
    public init(isArmed: Bool, text: String) {
        self.isArmed = isArmed
        self.text = text
    }

    private static func path(_ runDirectory: String) -> String { runDirectory + "/watchdog" }

    /// The note of the guard that was started last; nil when there is none.
    public static func read(runDirectory: String) -> WatchdogNote? {
        guard let content = Files.text(self.path(runDirectory)) else { return nil }
        let lines = content.split(separator: "\n", maxSplits: 1).map(String.init)
        guard lines.count == 2, ["armed", "none"].contains(lines[0]) else { return nil }
        return WatchdogNote(isArmed: lines[0] == "armed", text: lines[1].trimmingSuffix("\n"))
    }

    /// Replaces the note; should that fail, `status` says nothing about a watchdog.
    func write(runDirectory: String) {
        try? Files.replace(Self.path(runDirectory), "\(self.isArmed ? "armed" : "none")\n\(self.text)\n")
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        self.hasSuffix(suffix) ? String(self.dropLast(suffix.count)) : self
    }
}
