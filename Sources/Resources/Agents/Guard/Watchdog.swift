import Basis
import CLinux
import Glibc

/// A hardware or software watchdog: a machine whose watchdog is not patted is reset.
protocol Watchdog {
    /// How long the machine lives on after a pat.
    var timeout: Span { get }
    /// The machine lives on for another watchdog timeout.
    func pat()
    /// No longer needed; only ever called when nothing of ours runs.
    func disarm()
}

/// A `/dev/watchdog` device.
struct WatchdogDevice: Watchdog {
    private let descriptor: Int32
    /// What the device took as its timeout, in seconds; 0 when it did not say.
    let seconds: Int32

    /// Opens and thereby arms it; throws the reason when there is none.
    init(path: String, seconds: Int32) throws(AgentError) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path: path, action: "open the watchdog", code: errno) }
        self.descriptor = descriptor
        var taken: Int32 = 0
        self.seconds = holdfast_watchdog_timeout(descriptor, seconds, &taken) == 0 ? taken : 0
    }

    /// A device that does not say how long it waits is taken to wait as long as most do by default.
    var timeout: Span { .seconds(self.seconds > 0 ? UInt64(self.seconds) : 60) }

    func pat() { self.put(0) }

    func disarm() {
        // The magic character; without it the machine is reset after the close.
        self.put(UInt8(ascii: "V"))
        close(self.descriptor)
    }

    private func put(_ byte: UInt8) {
        var byte = byte
        _ = write(self.descriptor, &byte, 1)
    }
}
