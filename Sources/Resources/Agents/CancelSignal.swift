import CLinux
import Glibc
import Host
import Synchronization

/// Tells a call that waits in `poll` to give up; set once, by closing the writing end of a pipe.
final class CancelSignal: Sendable {
    /// Readable once cancelled.
    let descriptor: Int32
    private let writer: Mutex<Int32>

    init() {
        var ends: [Int32] = [-1, -1]
        let code = holdfast_pipe(&ends, 0)
        precondition(code == 0, "no pipe could be made: \(SystemText.error(code)); raise the limit of open files")
        self.descriptor = ends[0]
        self.writer = Mutex(ends[1])
    }

    deinit {
        self.cancel()
        close(self.descriptor)
    }

    func cancel() {
        self.writer.withLock { writer in
            if writer >= 0 { close(writer) }
            writer = -1
        }
    }

    var isCancelled: Bool { self.writer.withLock { $0 < 0 } }
}
