import Basis
import CopyStorage
import Glibc
import Host
import Mirror
import SecureLink
import Synchronization

/// One volume's server: the pure `Volume` under one lock, with its disk, links, export and control socket around it.
///
/// The lock is also the order of the volume: whoever has the turn steps the core and carries out local writes and the
/// queueing of frames before the next step. Syncs, metadata, resync reads and events have threads of their own.
public final class VolumeServer: Sendable {
    let options: VolumeServerOptions
    let store: RealBlockFile
    let copy: CopyStore<RealDisk>
    let tls: TLSContext
    let listener: Listener
    let reception: Reception
    let control: ControlSocket
    let lease: LeasePage
    let log: @Sendable (String) -> Void
    /// Where owners reach this server.
    public var port: UInt16 { self.listener.port }

    let state: Locked<State>
    /// Ends the process, after the copy was given a new identity; nil where the server is not alone in its process.
    let exitAfterRenewal: (@Sendable () -> Void)?

    /// The incarnation whose lease lets clients read; 0 for none. Written with the lock, read without.
    let readable = Atomic<UInt64>(0)

    let syncs = WorkQueue<UInt64>()
    let persists = WorkQueue<(VolumeMetadata, UInt64)>()
    let chunks = WorkQueue<ChunkWork>()
    let outbox = WorkQueue<Outgoing>()
    private let threads = ThreadGroup()

    /// A chunk to read for resync.
    enum ChunkWork: Sendable {
        case digest(chunk: Extent, peer: NodeID, session: UInt32)
        case compare(peer: NodeID, session: UInt32, chunk: Extent, ticket: UInt64, sums: [UInt64]?, exclusive: Bool)
    }

    /// What leaves for the daemon, in order with the export's life.
    enum Outgoing: Sendable {
        case event(VolumeEvent)
        case startExport(Epoch)
        case stopExport
    }

    /// Opens the copy and listens; nothing runs before `start`. `log` gets sentences from any thread. With `makesCopy` a
    /// copy is made where there is none and nothing is lost by it.
    public convenience init(
        _ options: VolumeServerOptions, tuning: Volume.Tuning = Volume.Tuning(), makesCopy: Bool,
        log: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(VolumeServerError) {
        let control = try ControlSocket(path: options.runDirectory + "/control")
        let (copy, metadata): (CopyStore<RealDisk>, VolumeMetadata)
        do throws(StoreError) {
            switch try CopyStore.open(options.place, on: RealDisk(), draw: randomIdentity) {
            case .copy(let found, let stored): (copy, metadata) = (found, stored)
            case .none(let report):
                guard makesCopy, case .none(_, mayMake: true) = report.finding else {
                    throw .noCopy(reason: "\(report.finding)")
                }
                (copy, metadata) = try CopyStore.make(options.place, on: RealDisk(), draw: randomIdentity)
            }
        } catch {
            throw .store(error)
        }
        try self.init(options, copy, metadata, control, tuning: tuning, exitAfterRenewal: nil, log: log)
    }

    init(
        _ options: VolumeServerOptions, _ copy: CopyStore<RealDisk>, _ metadata: VolumeMetadata,
        _ control: ControlSocket,
        tuning: Volume.Tuning = Volume.Tuning(), exitAfterRenewal: (@Sendable () -> Void)?,
        log: @escaping @Sendable (String) -> Void
    ) throws(VolumeServerError) {
        guard options.sizeBytes > 0, options.sizeBytes % 4096 == 0 else { throw .badSize(options.sizeBytes) }
        self.options = options
        self.log = log
        self.copy = copy
        self.store = copy.backing
        self.control = control
        self.exitAfterRenewal = exitAfterRenewal
        do throws(SecureLinkError) {
            self.tls = try TLSContext(identity: options.tls)
            self.listener = try Listener(host: options.listenHost, port: options.listenPort)
            let threads = self.threads
            self.reception = Reception(
                listener: self.listener, context: self.tls, handshakeTimeout: .seconds(5), budget: .ofThisProcess,
                spawn: { threads.start($0) }, warn: log)
            self.reception.know(options.peers.map(\.host))
        } catch {
            throw .link(error)
        }
        do throws(Errno) {
            self.lease = try LeasePage(path: options.leaseFilePath)
        } catch {
            throw .lease(path: options.leaseFilePath, errno: error.code)
        }
        var tuning = tuning
        tuning.resyncBytesPerSecond = options.resyncBytesPerSecond
        let configuration = Volume.Configuration(
            node: options.node, peers: options.peers.map(\.node), sizeBytes: options.sizeBytes, tuning: tuning)
        let volume = Volume(configuration: configuration, metadata: metadata)
        self.state = Locked(State(volume: volume, peers: options.peers), lendsPriority: false)
    }

    /// Runs a server for the rest of the process's life.
    public static func run(
        _ options: VolumeServerOptions, log: @escaping @Sendable (String) -> Void
    ) throws(VolumeServerError) -> Never {
        signal(SIGPIPE, SIG_IGN)
        DescriptorBudget.raise()
        let door = VolumeServerDoor(options, try ControlSocket(path: options.runDirectory + "/control"), log)
        let (copy, metadata) = try door.awaitCopy()
        let server = try VolumeServer(
            options, copy, metadata, door.control, exitAfterRenewal: { exit(0) }, log: log)
        server.startThreads()
        door.admit(server)
        while true { pause() }
    }

    /// Starts all threads and returns.
    public func start() {
        self.startThreads()
        let isStarted = self.threads.start { self.control.run { self.perform($0) } }
        precondition(isStarted, "the system has no thread left for the volume server")
    }

    private func startThreads() {
        let bodies: [@Sendable () -> Void] = [
            { self.runSyncs() }, { self.runPersists() }, { self.runChunks() }, { self.runOutbox() },
            { self.runTicks() }, { self.runListener() },
        ]
        for body in bodies {
            // Nothing is served yet: the daemon starts the server anew.
            let isStarted = self.threads.start(body)
            precondition(isStarted, "the system has no thread left for the volume server")
        }
    }

    /// Ends the server as a kill would: nothing is flushed and nobody is told. For tests and orderly exits after
    /// `close`.
    public func stop() {
        let connections = self.state.change { state in
            state.isStopping = true
            self.readable.store(0, ordering: .releasing)
            return Array(state.outbound.values) + Array(state.inbound.values)
        }
        for connection in connections { connection.close() }
        self.listener.close()
        self.control.close()
        self.outbox.append(.stopExport)
        for close in [self.syncs.close, self.persists.close, self.chunks.close, self.outbox.close] { close() }
        self.threads.join()
        self.store.release()
    }

    /// False, and nothing is started, when the system has no thread left.
    func spawn(_ body: @escaping @Sendable () -> Void) -> Bool { self.threads.start(body) }

    /// A command as if it had come over the control socket.
    public func perform(_ command: VolumeCommand) {
        switch command {
        case .report(let question): self.reportCopy(answering: question)
        case .noted:
            self.step(.command(command))
            return self.reportCopy(answering: 0)
        case .makeCopy: return self.renewCopy()
        case .peers(let places): self.takePeers(places)
        case .open, .inSyncChanged, .close, .freeze, .thaw, .detach, .over, .takenBack, .resyncAll: break
        }
        self.step(.command(command))
    }

    private func reportCopy(answering question: UInt64) {
        self.state.withLock { state in
            var report = self.copy.report(state.volume.metadata)
            report.answers = question
            self.outbox.append(.event(.copy(report)))
        }
    }

    /// Rule V20: what this copy was is forgotten, unless it is in use; the next start finds a new one.
    private func renewCopy() {
        guard let exitAfterRenewal else { return }
        let isOver = self.state.withLock { state in
            if state.volume.isInUse || state.isStopping { return false }
            state.isStopping = true
            return true
        }
        guard isOver else { return }
        do throws(StoreError) {
            try self.copy.renew(draw: randomIdentity)
            self.log("this copy gets a new identity: the cluster does not know the one that was here")
        } catch {
            self.log("\(error)")
        }
        exitAfterRenewal()
    }

    /// How it stands now.
    public var status: VolumeStatus {
        self.state.withLock { $0.withCounters($0.volume.status(at: MachineClock.now)) }
    }
}
