import Basis
import CLinux
import Glibc

/// Calls on connected sockets that a signal does not cut short. None raises SIGPIPE.
package enum SystemSocket {
    /// Sends all; 0, or the error. A socket with a time limit gives EAGAIN once it has passed.
    package static func send(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
        var done = 0
        while done < bytes.count {
            let count = Glibc.send(
                descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
            if count > 0 { done += count } else if count == 0 || errno != EINTR { return count == 0 ? EPIPE : errno }
        }
        return 0
    }

    /// Sends all; 0, or the error.
    package static func send(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        bytes.withUnsafeBytes { self.send($0, to: descriptor) }
    }

    /// Receives exactly so many bytes; nil when the connection ends or breaks before.
    package static func receive(_ count: Int, from descriptor: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let taken = bytes.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress.map { $0 + done }, count - done, 0)
            }
            if taken < 0, errno == EINTR { continue }
            guard taken > 0 else { return nil }
            done += taken
        }
        return bytes
    }

    /// Receives a frame as `ByteWriter.data` writes it: a 32-bit count, least byte first, and so many bytes. Nil when the
    /// connection ends or breaks, and when the frame has more than `limit` bytes.
    package static func receiveFrame(from descriptor: Int32, limit: Int) -> [UInt8]? {
        guard let head = self.receive(4, from: descriptor) else { return nil }
        let count = head.reversed().reduce(0) { $0 << 8 | Int($1) }
        return count <= limit ? self.receive(count, from: descriptor) : nil
    }

    /// Takes connections until `body` says that it is enough, which is asked after each and after each failure with the
    /// descriptor, close-on-exec and the caller's to close, or -1 and the error.
    package static func acceptEach(_ listener: Int32, isEnough body: (_ descriptor: Int32, _ code: Int32) -> Bool) {
        while true {
            let descriptor = holdfast_accept(listener, 0)
            let code = descriptor < 0 ? errno : 0
            if body(descriptor, code) { return }
            // Out of descriptors or memory: the condition lasts, and must not eat a core.
            if code != 0, code != EINTR, code != ECONNABORTED { SystemThread.sleep(.milliseconds(100)) }
        }
    }

    /// How long a send or a receive may wait; zero for ever.
    package static func limit(_ descriptor: Int32, _ option: Int32, _ time: Span) {
        let microseconds = time.nanoseconds / 1000
        var value = timeval(
            tv_sec: Int(microseconds / 1_000_000), tv_usec: suseconds_t(microseconds % 1_000_000))
        setsockopt(descriptor, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<timeval>.size))
    }
}
