import Basis
import Foundation
import Glibc
import Host
import Mirror
import ScenarioKit
import SecureLink
import Synchronization
import VolumeServer

/// Two volume servers on loopback with real TLS, a relay between them that can be cut, and a log for both.
final class ServerFixture: @unchecked Sendable {
    static let size: UInt64 = 4 << 20
    let directory: String
    private let authority: CertificateAuthority
    private let ports: [UInt16]
    /// Carries what node 1 dials; node 2 dials through `backRelay`.
    let relay: Relay
    let backRelay: Relay
    private(set) var servers: [NodeID: VolumeServer] = [:]
    private(set) var daemons: [NodeID: FakeDaemon] = [:]
    let log = FakeLog()

    init() throws {
        self.directory = NSTemporaryDirectory() + "hf-\(UUID().uuidString.prefix(8))"
        for node in 1...2 {
            try FileManager.default.createDirectory(
                atPath: "\(self.directory)/n\(node)", withIntermediateDirectories: true)
        }
        self.authority = try CertificateAuthority.create(clusterName: "prod")
        try self.authority.save(certificatePath: self.directory + "/ca.crt", keyPath: self.directory + "/ca.key")
        self.ports = [QuietPort.take(), QuietPort.take()]
        self.relay = try Relay(to: self.ports[1])
        self.backRelay = try Relay(to: self.ports[0])
        for node in 1...2 { try self.start(NodeID(UInt32(node))) }
    }

    /// Ends everything; without it the threads would keep the fixture alive.
    func end() {
        for daemon in self.daemons.values { daemon.close() }
        for server in self.servers.values { server.stop() }
        self.relay.close()
        self.backRelay.close()
        try? FileManager.default.removeItem(atPath: self.directory)
    }

    func path(_ node: NodeID, _ name: String) -> String { "\(self.directory)/\(node)/\(name)" }

    private func identity(_ node: NodeID) throws -> TLSIdentity {
        let key = try NodeKey.create()
        let certificate = try self.authority.issue(
            nodeName: "node\(node.rawValue)", node: node, clusterID: "prod",
            request: try key.certificateRequest(nodeName: "node\(node.rawValue)"),
            valid: Validity(from: 0, until: 1))
        try key.save(to: self.path(node, "node.key"))
        try PEMFile.write(certificate, to: self.path(node, "node.crt"), isSecret: false)
        return TLSIdentity(
            certificateAuthorityPath: self.directory + "/ca.crt", certificatePath: self.path(node, "node.crt"),
            keyPath: self.path(node, "node.key"))
    }

    func start(_ node: NodeID) throws {
        let isFirst = node == NodeID(1)
        let peer = VolumeServerPeer(
            node: NodeID(isFirst ? 2 : 1), host: "127.0.0.1", port: isFirst ? self.relay.port : self.backRelay.port)
        let options = VolumeServerOptions(
            volume: VolumeName("data"), volumeIdentity: 7, sizeBytes: Self.size, node: node,
            backingPath: self.path(node, "data.img"),
            metadataPath: self.path(node, "data.meta"), runDirectory: "\(self.directory)/\(node)",
            leaseFilePath: self.path(node, "lease"), listenHost: "127.0.0.1",
            listenPort: self.ports[isFirst ? 0 : 1], peers: [peer], tls: try self.identity(node))
        let server = try VolumeServer(options, makesCopy: true)
        server.start()
        self.servers[node] = server
        self.setLease(node, end: .max)
        self.daemons[node] = try FakeDaemon(path: self.path(node, "control"), log: self.log)
    }

    func setLease(_ node: NodeID, end: UInt64) {
        let page = try? LeasePage(path: self.path(node, "lease"))
        page?.publish(end: Tick(nanoseconds: end), Incarnation(1), grace: .zero)
    }

    func kill(_ node: NodeID) {
        self.daemons.removeValue(forKey: node)?.close()
        self.servers.removeValue(forKey: node)?.stop()
    }

    func open(_ node: NodeID, set: [NodeID]) throws {
        let epoch = self.log.promote(node, set: set)
        guard let daemon = self.daemons[node] else { throw POSIXError(.ESRCH) }
        daemon.send(
            .open(
                epoch: epoch, incarnation: Incarnation(1), inSync: set, version: self.log.state.withLock { $0.version })
        )
        daemon.wait { $0.contains(.opened(epoch: epoch)) }
    }

    func contents(_ node: NodeID) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: self.path(node, "data.img"))).prefix(Int(Self.size))
    }
}

/// The log's part: one set, one version, one epoch. (Rule V4)
final class FakeLog: Sendable {
    struct State {
        var epoch: UInt64 = 0
        var version: UInt64 = 0
        var set: [NodeID] = []
        /// Proposals are applied as they come; otherwise they are only noted by the daemon.
        var isApplying = true
    }
    let state = Mutex(State())

    func promote(_ node: NodeID, set: [NodeID]) -> Epoch {
        self.state.withLock { state in
            state.epoch += 1
            state.version += 1
            state.set = set
            return Epoch(generation: 0, index: state.epoch)
        }
    }

    func apply(_ event: VolumeEvent) -> VolumeCommand? {
        self.state.withLock { state in
            guard state.isApplying else { return nil }
            switch event {
            case .wantsJoin(let epoch, let version, let replica, _)
            where epoch.index == state.epoch && version == state.version:
                state.set = (state.set + [replica]).sorted()
            case .wantsLeave(let epoch, let version, let replica)
            where epoch.index == state.epoch && version == state.version:
                state.set.removeAll { $0 == replica }
            default: return nil
            }
            state.version += 1
            return .inSyncChanged(
                epoch: Epoch(generation: 0, index: state.epoch), inSync: state.set, version: state.version)
        }
    }
}

/// Holds one end of a control socket, notes the events and carries questions to the log.
final class FakeDaemon: @unchecked Sendable {
    private let descriptor: Int32
    private let log: FakeLog
    private let condition = NSCondition()
    private var events: [VolumeEvent] = []
    private var isOver = false

    init(path: String, log: FakeLog) throws {
        self.log = log
        self.descriptor = try connectUnix(path)
        let thread = Thread { [self] in self.run() }
        thread.start()
    }

    private func run() {
        while let head = receive(self.descriptor, 4) {
            var reader = ByteReader(head)
            guard let count = try? reader.uint32(), let body = receive(self.descriptor, Int(count)) else { break }
            var content = ByteReader(body)
            guard let event = try? VolumeEvent.decode(from: &content) else { break }
            self.condition.lock()
            self.events.append(event)
            self.condition.broadcast()
            self.condition.unlock()
            if let answer = self.log.apply(event) { self.send(answer) }
        }
        self.condition.lock()
        self.isOver = true
        self.condition.broadcast()
        self.condition.unlock()
    }

    func send(_ command: VolumeCommand) {
        var content = ByteWriter()
        command.encode(into: &content)
        var message = ByteWriter()
        message.data(content.bytes)
        _ = message.bytes.withUnsafeBytes { Glibc.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Sleeps until the events so far satisfy `condition`.
    func wait(_ condition: ([VolumeEvent]) -> Bool) {
        self.condition.lock()
        defer { self.condition.unlock() }
        while !condition(self.events), !self.isOver { self.condition.wait() }
    }

    func forget() {
        self.condition.lock()
        self.events = []
        self.condition.unlock()
    }

    func close() { Glibc.shutdown(self.descriptor, Int32(SHUT_RDWR)) }
}

func connectUnix(_ path: String) throws -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let status = withUnsafePointer(to: address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    guard status == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    return descriptor
}

func receive(_ descriptor: Int32, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
        let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress.map { $0 + done }, count - done, 0) }
        guard got > 0 else { return nil }
        done += got
    }
    return bytes
}

/// Forwards TCP connections until it is cut.
final class Relay: @unchecked Sendable {
    private let listener: Listener
    private let target: UInt16
    private let state = Mutex((isCut: false, open: [Int32]()))
    var port: UInt16 { self.listener.port }

    init(to target: UInt16) throws {
        self.target = target
        self.listener = try Listener(host: "127.0.0.1", port: 0)
        let thread = Thread { [self] in
            while let accepted = try? self.listener.acceptRaw() { self.forward(accepted) }
        }
        thread.start()
    }

    private func forward(_ accepted: Int32) {
        let blocking = fcntl(accepted, F_GETFL, 0) & ~O_NONBLOCK
        _ = fcntl(accepted, F_SETFL, blocking)
        let onward = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = self.target.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let isJoined =
            withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(onward, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            } == 0
        let isAllowed = self.state.withLock { state in
            guard isJoined, !state.isCut else { return false }
            state.open += [accepted, onward]
            return true
        }
        guard isAllowed else {
            Glibc.close(accepted)
            Glibc.close(onward)
            return
        }
        for (from, to) in [(accepted, onward), (onward, accepted)] {
            Thread {
                var bytes = [UInt8](repeating: 0, count: 64 << 10)
                while true {
                    let count = recv(from, &bytes, bytes.count, 0)
                    guard count > 0, Glibc.send(to, bytes, count, Int32(MSG_NOSIGNAL)) == count else { break }
                }
                Glibc.shutdown(from, Int32(SHUT_RDWR))
                Glibc.shutdown(to, Int32(SHUT_RDWR))
            }.start()
        }
    }

    func cut() {
        self.state.withLock { state in
            state.isCut = true
            for descriptor in state.open { Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }
            state.open = []
        }
    }

    func heal() { self.state.withLock { $0.isCut = false } }

    func close() {
        self.cut()
        self.listener.close()
    }
}

/// A client of a `BlockDevice` that may wait for its answers.
final class DeviceClient: BlockCompletionSink, @unchecked Sendable {
    private let device: any BlockDevice
    private let condition = NSCondition()
    private var answers: [UInt64: UInt32] = [:]
    private var next: UInt64 = 0

    init(_ device: any BlockDevice) { self.device = device }

    func complete(cookie: UInt64, error: UInt32) {
        self.condition.lock()
        self.answers[cookie] = error
        self.condition.broadcast()
        self.condition.unlock()
    }

    private func cookie() -> UInt64 {
        self.condition.lock()
        defer { self.condition.unlock() }
        self.next += 1
        return self.next
    }

    func write(_ offset: UInt64, _ bytes: [UInt8], durable: Bool = false) -> UInt64 {
        let cookie = self.cookie()
        bytes.withUnsafeBytes {
            self.device.write(offset: offset, data: $0, durable: durable, cookie: cookie, sink: self)
        }
        return cookie
    }

    func zero(_ offset: UInt64, _ length: UInt64) -> UInt64 {
        let cookie = self.cookie()
        self.device.zero(offset: offset, length: length, mayTrim: true, durable: false, cookie: cookie, sink: self)
        return cookie
    }

    func flush() -> UInt64 {
        let cookie = self.cookie()
        self.device.flush(cookie: cookie, sink: self)
        return cookie
    }

    func isAnswered(_ cookie: UInt64) -> Bool {
        self.condition.lock()
        defer { self.condition.unlock() }
        return self.answers[cookie] != nil
    }

    /// The error number of the answer.
    func wait(_ cookie: UInt64) -> UInt32 {
        self.condition.lock()
        defer { self.condition.unlock() }
        while true {
            if let answer = self.answers[cookie] { return answer }
            self.condition.wait()
        }
    }
}
