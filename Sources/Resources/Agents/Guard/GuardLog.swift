import Basis
import Glibc
import Host

/// Lines for standard error and a file; neither may hold the guard up, so failures to write are ignored. The file is in the run
/// directory and ends with the machine: where standard error leads to the journal, the last words stay there.
struct GuardLog {
    private let descriptor: Int32
    private let isJournal = Journal.takesStandardError()

    init(path: String) {
        var info = stat()
        if stat(path, &info) == 0, info.st_size > 1 << 20 { _ = Files.move(path, to: path + ".1") }
        self.descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
    }

    func write(_ priority: Journal.Priority, _ text: String, at now: Tick) {
        self.put("[\(now)] guard: \(text)\n", to: self.descriptor)
        self.put(Self.line(priority, text, at: now, isJournal: self.isJournal), to: STDERR_FILENO)
    }

    /// A line for standard error. The journal has times of its own.
    static func line(_ priority: Journal.Priority, _ text: String, at now: Tick, isJournal: Bool) -> String {
        isJournal ? "\(priority.mark)guard: \(text)\n" : "[\(now)] guard: \(text)\n"
    }

    private func put(_ line: String, to descriptor: Int32) {
        guard descriptor >= 0 else { return }
        // A reader that stopped reading must not stop the guard.
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&request, 1, 0) > 0 else { return }
        let bytes = Array(line.utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }
}
