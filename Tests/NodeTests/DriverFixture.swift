import Agents
import Basis
import Foundation
import Host
import Raft
import RaftStorage
import Resources
import ScenarioKit
import SecureLink

@testable import Cluster
@testable import Daemon
@testable import Reports

/// A daemon without agents, guard and volume servers: loop, log, transport and join server are the real ones.
final class SmallDaemon {
    let paths: NodePaths
    let file: NodeFile
    let queue = LoopQueue(LoopItems())
    let loop: DaemonLoop
    let joins: JoinServer
    let transport: Transport
    /// How often the loop said that its log takes no more writes.
    let failures = Locked(0)
    /// Why the loop put its log aside, if it did.
    let forgotten = Locked([String]())
    let lease: LeasePage
    let backend: Backend

    /// `fails` makes every write to the log fail; `persist` is how else one is made, and `keep` how a snapshot is.
    init(
        _ paths: NodePaths, fails: Bool = false, logPatience: Span = .seconds(1), markInterval: Span = .seconds(3600),
        hardwareClock: String? = nil, settings: Consensus.Settings = Consensus.Settings(),
        keep: @escaping @Sendable (LogStore, Snapshot) throws -> Void = { try $0.keep($1) },
        persist: @escaping @Sendable (LogStore, PersistRequest) throws -> Void = { try $0.persist($1) }
    ) throws {
        self.paths = paths
        self.file = try NodeFile.read(paths)
        try NodePaths.makeDirectory(paths.run, mode: 0o755)
        let log = DriverLog()
        let (store, restored) = try LogStore.open(
            directory: paths.log, on: RealDisk(),
            identity: LogIdentity(cluster: self.file.clusterID, node: self.file.id),
            draw: try Founding.startDraw(bootID: "boot"))
        let transport = try Transport(self.file, identity: paths.identity, log: log, parted: { _, _ in })
        let supervisor = try Supervisor(
            identity: .init(node: self.file.id, bootID: "boot", memory: store.memory, nonce: 7),
            settings: settings, restored: restored, facts: nil, leaseEnd: .zero, seed: 1,
            at: MachineClock.now)
        self.transport = transport
        let failures = self.failures
        let forgotten = self.forgotten
        let lease = try LeasePage(path: paths.lease)
        self.lease = lease
        self.loop = DaemonLoop(
            supervisor, queue: self.queue,
            actors: DaemonLoop.Actors(
                log: .init(
                    persist: { request in
                        if fails { throw StorageError.poisoned(cause: "the test says so") }
                        try persist(store, request)
                    }, seal: { try store.seal() }, keep: { try keep(store, $0) }),
                forget: { reason in forgotten.change { $0.append(reason) } },
                send: { transport.send($0, to: $1) }, lease: lease,
                witness: ClockWitness(page: lease, path: hardwareClock), generation: { _ in }, facts: { _ in },
                call: { _ in }, cancel: { _ in }, inspect: { _, _, _ in }, killGroup: { _ in },
                forgetStarted: { _ in }, volume: { _, _ in }, cutVolume: { _ in },
                volumeServers: { _ in }, renew: { _ in },
                peers: { transport.keep($0) }, housekeeping: { _ in }, logFailed: { _ in failures.change { $0 += 1 } }),
            log: log, logPatience: logPatience, markInterval: markInterval)
        let desk = CertificateDesk(
            paths: paths, file: self.file, lifeSeconds: CertificateLife.standardSeconds, queue: self.queue, log: log)
        self.joins = JoinServer(
            paths: paths, file: self.file, bootID: "boot", queue: self.queue, log: log, desk: desk)
        self.backend = Backend(
            loop: self.loop, queue: self.queue, joins: self.joins,
            certificateKeeper: CertificateKeeper(desk, bootID: "boot", queue: self.queue, log: log), file: self.file)
        let queue = self.queue
        let loop = self.loop
        let joins = self.joins
        transport.keep(PeerRoll(peers: self.file.seeds))
        transport.start(
            Transport.Handlers(
                receive: { envelope, via in queue.change { $0.append(.input(.receive(envelope, via: via))) } },
                join: { joins.serve($0, settle: $1) }, certificates: { desk.serve($0, $1) }, twins: { _, _, _ in }))
        SystemThread.start("loop") { loop.run() }
    }

    deinit { self.queue.change { $0.append(.stop) } }

    /// Founds a cluster in a fresh directory.
    static func found(in scratch: ScratchDirectory) throws -> NodePaths {
        let paths = NodePaths(directory: scratch.path + "/state", run: scratch.path + "/run")
        try Founding.initialize(
            NodeInitOptions(
                cluster: "prod", name: "tok-1", site: "tokyo", address: "127.0.0.1:\(QuietPort.take())",
                role: .member, directory: paths.directory), acceptsLoopback: true)
        return paths
    }

    /// Asks until the view is as wanted.
    func view(where isWanted: (SupervisorView) -> Bool) async throws -> SupervisorView {
        while true {
            // Nil while the loop has not come round once: a slow disk.
            if let view = await DaemonLoop.view(self.loop, queue: self.queue), isWanted(view) { return view }
            await Task.yield()
        }
    }
}
