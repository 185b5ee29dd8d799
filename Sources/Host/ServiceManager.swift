import Glibc

/// Tells the service manager that started this process how far it is. (sd_notify(3))
package enum ServiceManager {
    /// The API answers: what is ordered after this service may begin. Without a service manager that asked for it nothing
    /// happens.
    package static func tellReady() {
        guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }) else { return }
        _ = self.tell("READY=1", at: path)
    }

    /// Whether the present job of a unit of systemd starts it again after it has stopped. False without systemd.
    package static func isRestarting(_ unit: String) -> Bool {
        let jobs = self.output(of: "systemctl list-jobs --plain --no-legend --no-pager") ?? ""
        return self.isRestart(of: unit, in: jobs)
    }

    /// The same, from the lines `JOB UNIT TYPE STATE` of `systemctl list-jobs`.
    package static func isRestart(of unit: String, in jobs: String) -> Bool {
        jobs.split(separator: "\n").contains { line in
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            return words.count >= 3 && words[1] == unit && words[2].hasSuffix("restart")
        }
    }

    /// What a command printed; nil when it failed or is not there.
    private static func output(of command: String) -> String? {
        guard let stream = popen("\(command) 2>/dev/null", "re") else { return nil }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&chunk, 1, chunk.count, stream)
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return pclose(stream) == 0 ? String(decoding: bytes, as: UTF8.self) : nil
    }

    /// Sends a message to a socket: a path, or `@NAME` in the abstract namespace. False when nobody takes it.
    package static func tell(_ message: String, at path: String) -> Bool {
        guard let address = try? UnixAddress(path) else { return false }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        let text = Array(message.utf8)
        return address.withAddress { sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), $0, $1) } == text.count
    }
}
