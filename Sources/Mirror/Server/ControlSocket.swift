import Basis
import Glibc
import Host
import Mirror

/// The Unix socket on which the daemon talks to a volume server: length-prefixed commands one way, events the other. A
/// new connection replaces the old one.
final class ControlSocket: Sendable {
    private let path: String
    private let listener: Int32
    private struct State {
        var client: Int32 = -1
        var isClosed = false
    }
    private let state = Locked(State(), lendsPriority: false)

    init(path: String) throws(VolumeServerError) {
        self.path = path
        unlink(path)
        let descriptor: Int32
        do throws(Errno) {
            descriptor = try UnixAddress(path).listen(backlog: 8)
        } catch {
            throw .control(path: path, errno: error.code)
        }
        self.listener = descriptor
    }

    deinit { Glibc.close(self.listener) }

    /// Serves connections until `close`.
    func run(_ command: @escaping @Sendable (VolumeCommand) -> Void) {
        SystemSocket.acceptEach(self.listener) { accepted, code in
            let isClosed = self.state.withLock { state in
                if !state.isClosed, code == 0 {
                    if state.client >= 0 { Glibc.shutdown(state.client, Int32(SHUT_RDWR)) }
                    state.client = accepted
                }
                return state.isClosed
            }
            guard code == 0 else { return isClosed }
            if isClosed {
                Glibc.close(accepted)
                return true
            }
            // A daemon that hangs must not hold up the server.
            SystemSocket.limit(accepted, SO_SNDTIMEO, .seconds(1))
            if !SystemThread.start("control", { self.serve(accepted, command) }) { self.drop(accepted) }
            return false
        }
    }

    private func serve(_ descriptor: Int32, _ command: @Sendable (VolumeCommand) -> Void) {
        defer { self.drop(descriptor) }
        while let body = SystemSocket.receiveFrame(from: descriptor, limit: 1 << 20) {
            var reader = ByteReader(body)
            guard let decoded = try? VolumeCommand.decode(from: &reader) else { return }
            command(decoded)
        }
    }

    private func drop(_ descriptor: Int32) {
        self.state.withLock { state in
            if state.client == descriptor { state.client = -1 }
            Glibc.close(descriptor)
        }
    }

    /// Sends an event to the daemon, if one is connected; one that does not read is cut off.
    func send(_ event: VolumeEvent) {
        var content = ByteWriter()
        event.encode(into: &content)
        var message = ByteWriter(reserving: content.bytes.count + 4)
        message.data(content.bytes)
        self.state.withLock { state in
            guard state.client >= 0 else { return }
            if SystemSocket.send(message.bytes, to: state.client) != 0 {
                Glibc.shutdown(state.client, Int32(SHUT_RDWR))
            }
        }
    }

    func close() {
        self.state.withLock { state in
            state.isClosed = true
            if state.client >= 0 { Glibc.shutdown(state.client, Int32(SHUT_RDWR)) }
        }
        Glibc.shutdown(self.listener, Int32(SHUT_RDWR))
        unlink(self.path)
    }
}
