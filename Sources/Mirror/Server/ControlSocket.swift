import Basis
import CLinux
import Glibc
import Host
import Mirror

/// The Unix socket on which the daemon talks to a volume server: length-prefixed commands one way, events the other. A
/// new connection replaces the old one.
final class ControlSocket: @unchecked Sendable {
    private let path: String
    private let listener: Int32
    private let lock = ConditionLock()
    // Guarded by `lock`.
    private var client: Int32 = -1
    private var isClosed = false

    init(path: String) throws(VolumeServerError) {
        self.path = path
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .control(path: path, errno: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .control(path: path, errno: errno) }
        unlink(path)
        let bound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, chmod(path, 0o600) == 0, listen(descriptor, 8) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw .control(path: path, errno: code)
        }
        self.listener = descriptor
    }

    deinit { Glibc.close(self.listener) }

    /// Serves connections until `close`.
    func run(_ command: @escaping @Sendable (VolumeCommand) -> Void) {
        while true {
            let accepted = holdfast_accept(self.listener, 0)
            self.lock.lock()
            if self.isClosed {
                self.lock.unlock()
                if accepted >= 0 { Glibc.close(accepted) }
                return
            }
            if accepted >= 0 {
                if self.client >= 0 { Glibc.shutdown(self.client, Int32(SHUT_RDWR)) }
                self.client = accepted
            }
            self.lock.unlock()
            if accepted < 0 {
                if errno != EINTR, errno != ECONNABORTED { usleep(100_000) }
                continue
            }
            // A daemon that hangs must not hold up the server.
            var timeout = timeval(tv_sec: 1, tv_usec: 0)
            setsockopt(accepted, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
            if !SystemThread.start("control", { self.serve(accepted, command) }) { self.drop(accepted) }
        }
    }

    private func serve(_ descriptor: Int32, _ command: @Sendable (VolumeCommand) -> Void) {
        defer { self.drop(descriptor) }
        while let head = self.receive(descriptor, 4) {
            let count = head.enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
            guard count <= 1 << 20, let body = self.receive(descriptor, count) else { return }
            var reader = ByteReader(body)
            guard let decoded = try? VolumeCommand.decode(from: &reader) else { return }
            command(decoded)
        }
    }

    private func drop(_ descriptor: Int32) {
        self.lock.lock()
        if self.client == descriptor { self.client = -1 }
        Glibc.close(descriptor)
        self.lock.unlock()
    }

    private func receive(_ descriptor: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress.map { $0 + done }, count - done, 0)
            }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { return nil }
            done += got
        }
        return bytes
    }

    /// Sends an event to the daemon, if one is connected; one that does not read is cut off.
    func send(_ event: VolumeEvent) {
        var content = ByteWriter()
        event.encode(into: &content)
        var message = ByteWriter(reserving: content.bytes.count + 4)
        message.data(content.bytes)
        self.lock.lock()
        defer { self.lock.unlock() }
        guard self.client >= 0 else { return }
        var done = 0
        while done < message.bytes.count {
            let sent = message.bytes.withUnsafeBytes {
                Glibc.send(self.client, $0.baseAddress.map { $0 + done }, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if sent < 0, errno == EINTR { continue }
            guard sent > 0 else {
                Glibc.shutdown(self.client, Int32(SHUT_RDWR))
                return
            }
            done += sent
        }
    }

    func close() {
        self.lock.lock()
        self.isClosed = true
        if self.client >= 0 { Glibc.shutdown(self.client, Int32(SHUT_RDWR)) }
        self.lock.unlock()
        Glibc.shutdown(self.listener, Int32(SHUT_RDWR))
        unlink(self.path)
    }
}
