import API
import Agents
import Basis
import Cluster
import Dispatch
import FoundationEssentials
import Glibc
import Host
import Raft
import RaftStorage
import Reports
import SecureLink

/// `holdfast daemon`: puts the parts together and runs them until it is told to stop.
///
/// SIGTERM and SIGINT end this process alone. Guard, volume servers and services run on under the lease, and the next
/// daemon adopts them if it comes before the lease ends: a restart stops nothing. (Rules L10, L13)
///
/// A log that takes no more writes, or a disk that answers no more, ends it too, with an error: whoever restarts it gets a
/// working disk again, and with it the lease; or the lease ends, and the other nodes take over.
package struct Daemon {
    private static let reportInterval = Span.seconds(1)
    /// Long enough for the message that hands leadership over.
    private static let farewell = Span.milliseconds(100)
    /// How long answers may take that are under way.
    private static let answers = Span.milliseconds(300)

    private let paths: NodePaths
    private let file: NodeFile
    private let log = DriverLog()
    private let queue = LoopQueue(LoopItems())
    private let stopped = OneAnswer<(any Error)?>()

    private init(_ options: DaemonOptions) throws {
        self.paths = NodePaths(directory: options.directory, run: options.runDirectory)
        self.file = try NodeFile.read(self.paths)
        try NodePaths.makeDirectory(self.paths.run, mode: 0o755)
        try VersionedFile.claim(runDirectory: self.paths.run)
    }

    /// Runs until a signal comes.
    package static func run(_ options: DaemonOptions) async throws {
        signal(SIGPIPE, SIG_IGN)
        DescriptorBudget.raise()
        let daemon = try Daemon(options)
        let api = try daemon.start()
        let stopped = daemon.stopped
        let sources = daemon.stopOnSignals()
        let door = APIServer(backend: api, socketPath: daemon.paths.socket)
        let server = Task {
            do {
                try await door.run(
                    onRunning: { ServiceManager.tellReady() })
                stopped.give(nil)
            } catch {
                stopped.give(error)
            }
        }
        let failure = await stopped.value()
        withExtendedLifetime(sources) {}
        await Self.handLeadershipOver(api)
        daemon.queue.change { $0.append(.stop) }
        // Who asked for what ends this daemon is still to be told.
        await door.finish(within: Self.answers)
        server.cancel()
        if failure == nil || failure is DiskFailure { unlink(daemon.paths.socket) }
        if failure is DiskFailure { try? await Task.sleep(nanoseconds: Self.farewell.nanoseconds) }
        daemon.log.flush()
        if let failure { throw failure }
        // Threads that wait for sockets and agents need no goodbye, and nobody waits for them.
        exit(0)
    }

    /// A leader that leaves in order spares the others an election. Waits a moment at most: the lease runs on.
    private static func handLeadershipOver(_ api: Backend) async {
        guard let view = try? await api.view(), view.supervisor.consensus.isLeader,
            view.supervisor.consensus.membership.voters.count > 1
        else { return }
        _ = await api.ask(.transferLeadership(to: nil))
        for _ in 0..<20 {
            guard let view = try? await api.view(), view.supervisor.consensus.isLeader else { return }
            try? await Task.sleep(nanoseconds: Span.milliseconds(15).nanoseconds)
        }
    }

    /// Why the daemon ends although nobody asked it to: a disk it needs is dead.
    private struct DiskFailure: Error, CustomStringConvertible {
        var cause: any Error
        var description: String {
            "\(self.cause). This daemon ends. What runs here goes on if the next one can write before the lease ends; "
                + "otherwise it is stopped here, and started elsewhere"
        }
    }

    /// Why the daemon ends: its log is not the one that others hold promises of. The next start has a new one. (Rule E2.2)
    private struct LogForgotten: Error, CustomStringConvertible {
        var reason: String
        var aside: String
        var description: String {
            "\(self.reason). It is kept as \(self.aside). This daemon ends; the next one starts with an empty log, which "
                + "follows without a vote once this node's present life is over (E2)"
        }
    }

    private func stopOnSignals() -> [any DispatchSourceSignal] {
        let stopped = self.stopped
        return [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            let log = self.log
            source.setEventHandler {
                log.info("told to stop; what runs here goes on until its lease ends")
                stopped.give(nil)
            }
            source.resume()
            return source
        }
    }

    // MARK: Assembly

    private func start() throws -> Backend {
        // What runs here is adopted only if that is done before the lease ends, however busy the machine is. (Rules L10, L13)
        SystemThread.goFirst()
        defer { SystemThread.goAlong() }
        let bootID = try self.bootID()
        let cgroupRoot = try self.cgroupRoot()
        let lease = try Self.leasePage(self.paths)
        // The lock of the log keeps a second daemon away before anything is touched.
        let page = ProgressPage(path: self.paths.progress)
        let (store, restored) = try ForgottenLog.open(self.paths, self.file, page, bootID: bootID, log: self.log)
        page.write(store.progress, bootID: bootID)
        self.log.info(
            "\(self.file.name) (\(self.file.id)) of cluster \(self.file.cluster), \(store.memory.present), "
                + "boot \(bootID)")
        let agents = AgentHost(self.environment(cgroupRoot, lease), log: self.log)
        let facts = self.settleLeftovers(agents, lease, bootID: bootID)
        let probe = try DiskProbe(directory: self.paths.directory)
        let (queue, log, identity) = (self.queue, self.log, self.paths.identity)
        let transport = try Transport(self.file, identity: identity, log: log) { node, parting in
            if let input = parting.input(from: node, identity) { queue.change { $0.append(.input(input)) } }
        }
        let now = MachineClock.now
        let supervisor: Supervisor
        do {
            supervisor = try Supervisor(
                identity: Supervisor.Identity(
                    node: self.file.id, bootID: bootID, memory: store.memory,
                    nonce: try Founding.randomNumber(), generation: try GenerationFile.read(self.paths),
                    seeds: self.file.seeds.map(\.node)),
                settings: Consensus.Settings(), restored: restored, facts: facts,
                leaseEnd: facts == nil ? .zero : lease.end,
                seed: try Founding.randomNumber(), at: now)
        } catch let error as CodecError { throw self.unreadable(error) }
        let volumes = VolumeKeeper(
            paths: self.paths, file: self.file, cgroupRoot: cgroupRoot, queue: self.queue, log: self.log)
        let desk = CertificateDesk(
            paths: self.paths, file: self.file, lifeSeconds: try self.certificateLife(), queue: queue, log: log)
        let joins = JoinServer(
            paths: self.paths, file: self.file, bootID: bootID, queue: self.queue, log: self.log, desk: desk)
        let certificates = CertificateKeeper(desk, bootID: bootID, queue: queue, log: log)
        let handlers = Transport.Handlers(
            receive: { envelope, via in queue.change { $0.append(.input(.receive(envelope, via: via))) } },
            join: { joins.serve($0, settle: $1) }, certificates: { desk.serve($0, $1) },
            twins: { node, twins, index in queue.change { $0.append(.input(.twins(node, twins, after: index))) } })
        let loop = DaemonLoop(
            supervisor, queue: self.queue,
            actors: self.actors(
                store, page, bootID: bootID, probe, transport, handlers, agents, volumes, lease, cgroupRoot: cgroupRoot),
            log: self.log)
        agents.report(to: self.queue)
        // Before the log has told who the nodes are, those of the join answer do.
        transport.keep(self.seeds(supervisor))
        transport.start(handlers)
        certificates.start { transport.renewSeals() }
        SystemThread.start("supervisor") {
            let refusal = SystemThread.goFirst()
            if refusal != 0 {
                log.warning(
                    "no real-time priority (\(SystemText.error(refusal))): on a busy machine leases may be lost; give the "
                        + "service CAP_SYS_NICE, and a CPU cgroup that allows it")
            }
            loop.run()
        }
        return Backend(
            loop: loop, queue: queue, joins: joins, certificateKeeper: certificates, file: self.file,
            runDirectory: self.paths.run,
            installedAgents: { agents.installedAgents })
    }

    /// Why this release cannot take up what the log says.
    private func unreadable(_ error: CodecError) -> DriverError {
        if case .foreignLevel = error {
            return .file(
                path: self.paths.log, reason: "\(error): it cannot take part",
                remedy: "install the release that the other nodes run")
        }
        return .file(
            path: self.paths.log, reason: "the snapshot in it cannot be read: \(error)",
            remedy: "install the release that wrote it")
    }

    private func seeds(_ supervisor: Supervisor) -> PeerRoll {
        let roll = supervisor.state.roll(of: self.file.id)
        return roll.peers.isEmpty ? PeerRoll(peers: self.file.seeds) : roll
    }

    private static func writers(_ store: LogStore, _ page: ProgressPage, bootID: String) -> DaemonLoop.Writers {
        DaemonLoop.Writers(
            persist: {
                try store.persist($0)
                page.write(store.progress, bootID: bootID)
            },
            seal: {
                try store.seal()
                page.write(store.progress, bootID: bootID)
            },
            keep: { try store.keep($0) })
    }

    private func actors(
        _ store: LogStore, _ page: ProgressPage, bootID: String, _ probe: DiskProbe, _ transport: Transport,
        _ handlers: Transport.Handlers,
        _ agents: AgentHost, _ volumes: VolumeKeeper, _ lease: LeasePage, cgroupRoot: String
    ) -> sending DaemonLoop.Actors {
        let (queue, stopped, log, factsPath) = (self.queue, self.stopped, self.log, self.paths.facts)
        let dead = { @Sendable (what: String, failure: DriverError) in
            log.error("\(what) is dead: \(failure)")
            stopped.give(DiskFailure(cause: failure))
        }
        var probe: DiskProbe? = probe
        var copies = CopyProbes()
        var keeper = self.guardKeeper(cgroupRoot)
        var nextReport = Tick.zero
        var own = OwnRecord(self.file, paths: self.paths, log: self.log)
        let hands = self.hands(transport, handlers)
        return DaemonLoop.Actors(
            log: Self.writers(store, page, bootID: bootID),
            forget: { [paths = self.paths] reason in
                store.close()
                do {
                    let aside = try ForgottenLog.setAside(paths.log)
                    page.remove()
                    stopped.give(LogForgotten(reason: reason, aside: aside ?? "nothing"))
                } catch { stopped.give(error) }
            },
            send: { transport.send($0, to: $1) },
            lease: lease, witness: ClockWitness(page: lease, path: Self.variable("HOLDFAST_RTC")),
            generation: { [paths = self.paths] in try GenerationFile.write($0, paths) },
            facts: { try FactsFile.write($0, to: factsPath) },
            call: { agents.call($0, queue) }, cancel: { agents.cancel($0) },
            inspect: { agents.inspect($0, for: $1, $2, queue) },
            killGroup: { agents.kill($0, queue) },
            forgetStarted: { agents.forgetStarted($0) },
            volume: { volumes.send($0, $1) }, cutVolume: { volumes.cut($0) },
            volumeServers: {
                volumes.keep($0)
                copies.keep($0)
            },
            renew: { $0 == .guardian ? keeper?.renew(at: MachineClock.now) : volumes.renew($0) },
            peers: { roll in
                transport.keep(roll)
                // A node that loses its log must still find the others.
                own.take(roll)
            },
            housekeeping: { now in
                own.look(at: now, hands)
                keeper?.look(lastSeen: lease.guardSeen, at: now)
                if let failure = probe?.look(at: now) {
                    dead("the disk of the log", failure)
                    probe = nil
                }
                if let failure = copies.look(at: now, isOpenHere: { volumes.isOpenHere($0) }) {
                    dead("the disk under an open volume", failure)
                    copies = CopyProbes()
                }
                guard now >= nextReport else { return }
                nextReport = now + Self.reportInterval
                volumes.askAll()
            },
            logFailed: { stopped.give(DiskFailure(cause: $0)) })
    }

    /// What follows from this node's own record in the log.
    private func hands(_ transport: Transport, _ handlers: Transport.Handlers) -> OwnRecord.Hands {
        let (me, queue, stopped) = (self.file.id, self.queue, self.stopped)
        return OwnRecord.Hands(
            listen: { try transport.listen(at: $0, handlers) },
            announce: { address in
                let command = Command.setNode(me, NodeChange(address: address))
                queue.change { $0.append(.request(.propose(command)) { _ in }) }
            }, end: { stopped.give($0) })
    }

    /// A witness has none.
    private func guardKeeper(_ cgroupRoot: String) -> GuardKeeper? {
        if self.isWitness { return nil }
        return GuardKeeper(paths: self.paths, cgroupRoot: cgroupRoot, queue: self.queue, log: self.log)
    }

    /// The lease page of a run directory.
    static func leasePage(_ paths: NodePaths) throws(DriverError) -> LeasePage {
        do throws(Errno) {
            return try LeasePage(path: paths.lease)
        } catch {
            throw .file(
                path: paths.lease, reason: "it cannot be mapped (\(LeasePage.reason(error)))",
                remedy: "check the run directory and that the daemon runs as root")
        }
    }

    private func environment(_ cgroupRoot: String, _ lease: LeasePage) -> AgentEnvironment {
        let log = self.log
        return AgentEnvironment(
            runDirectory: self.paths.run, cgroupRoot: cgroupRoot, nodeName: self.file.name,
            clusterName: self.file.cluster, program: ChildProcess.program, log: { log.info($0) },
            mayHoldAddresses: { lease.isUsable(at: MachineClock.now) })
    }

    /// Rule L10: what an earlier daemon of this boot left under a valid lease is adopted; all else is killed first.
    private func settleLeftovers(_ agents: AgentHost, _ lease: LeasePage, bootID: String) -> Facts? {
        let told: Facts?
        do throws(DriverError) { told = try FactsFile.read(self.paths.facts) } catch {
            self.log.warning("what an earlier daemon left running is stopped, and started anew: \(error)")
            told = nil
        }
        if let facts = told, facts.bootID == bootID, facts.incarnation != .none,
            facts.incarnation == lease.incarnation, lease.end > MachineClock.now
        {
            agents.adopt(facts, self.queue)
            return facts
        }
        // The guard must not take an end that another life left for a lease of this one.
        lease.publish(end: .zero, .none, grace: .zero)
        agents.endEverything(self.queue)
        unlink(self.paths.facts)
        return nil
    }

    /// A witness runs nothing, so it needs no guard and no cgroups.
    private var isWitness: Bool { self.file.role == .witness }

    private func cgroupRoot() throws -> String {
        do {
            return try ControlGroup.root(override: Self.variable("HOLDFAST_CGROUP")).path
        } catch {
            if self.isWitness { return "/sys/fs/cgroup/holdfast" }
            throw error
        }
    }

    private func bootID() throws -> String {
        if let given = Self.variable("HOLDFAST_BOOT_ID") { return given }
        let path = "/proc/sys/kernel/random/boot_id"
        guard let text = FileManager.default.contents(atPath: path).map({ String(decoding: $0, as: UTF8.self) }) else {
            throw DriverError.file(path: path, reason: "it cannot be read", remedy: "mount /proc")
        }
        return text.trimmed
    }

    /// What the certificates that this node signs are made for, in seconds. The variable is for tests: a year does not pass there.
    private func certificateLife() throws -> UInt64 {
        guard let text = Self.variable("HOLDFAST_CERTIFICATE_LIFE") else { return CertificateLife.standardSeconds }
        guard let seconds = UInt64(text), (10...CertificateLife.standardSeconds).contains(seconds) else {
            throw DriverError.argument(
                name: "HOLDFAST_CERTIFICATE_LIFE", value: text, reason: "this is no number of seconds up to a year",
                remedy: "leave it out")
        }
        return seconds
    }

    private static func variable(_ name: String) -> String? {
        guard let value = getenv(name).map({ String(cString: $0) }), !value.isEmpty else { return nil }
        return value
    }
}
