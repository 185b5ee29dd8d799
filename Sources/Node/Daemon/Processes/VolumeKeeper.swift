import Agents
import Basis
import CLinux
import Cluster
import FoundationEssentials
import Glibc
import Host
import Mirror
import Resources

/// The volume servers of this node: one process each, which outlives the daemon and is found again by the next one.
final class VolumeKeeper: Sendable {
    private struct State {
        var servers: [(name: VolumeName, server: VolumeServerHandle)] = []
    }

    private let paths: NodePaths
    private let file: NodeFile
    private let cgroupRoot: String
    private let log: DriverLog
    private let queue: LoopQueue
    private let state = Locked(State())

    init(
        paths: NodePaths, file: NodeFile, cgroupRoot: String, queue: LoopQueue, log: DriverLog
    ) {
        self.paths = paths
        self.file = file
        self.cgroupRoot = cgroupRoot
        self.queue = queue
        self.log = log
    }

    /// These servers, and no others, should run.
    func keep(_ specs: [VolumeServerSpec]) {
        let gone = self.state.change { state -> [VolumeServerHandle] in
            let gone = state.servers.filter { old in !specs.contains { $0.policy.name == old.name } }.map(\.server)
            state.servers.removeAll { old in !specs.contains { $0.policy.name == old.name } }
            for spec in specs {
                let launch = VolumeServerLaunch(spec, paths: self.paths, file: self.file, cgroupRoot: self.cgroupRoot)
                if let known = state.servers.first(where: { $0.name == spec.policy.name }) {
                    known.server.update(launch)
                } else {
                    let server = VolumeServerHandle(launch, queue: self.queue, log: self.log)
                    state.servers.append((spec.policy.name, server))
                    server.start()
                }
            }
            return gone
        }
        for server in gone { server.retire() }
    }

    /// Tells a server; what is told while it is away is dropped, because the supervisor repeats itself.
    func send(_ name: VolumeName, _ command: VolumeCommand) {
        self.state.withLock { $0.servers.first { $0.name == name }?.server }?.send(command)
    }

    /// Starts a server anew while its volume may be open: its users wait for the next one. (Rule V23)
    func renew(_ role: HelperRole) {
        guard case .server(let name) = role else { return }
        self.state.withLock { $0.servers.first { $0.name == name }?.server }?.renew()
    }

    /// Lets whoever waits for the attached volume fail. Not on the caller's thread: the kernel may take its time.
    func cut(_ name: VolumeName) {
        let directory = VolumeServerLaunch.directory(of: name, self.paths)
        let run = self.paths.run
        SystemThread.start("cut \(name)") { AttachedVolumes.cut(runDirectory: run, volumeDirectory: directory) }
    }

    /// Whether the volume is open on this node, by the last word of its server.
    func isOpenHere(_ name: VolumeName) -> Bool {
        self.state.withLock { $0.servers.first { $0.name == name }?.server.isOpen ?? false }
    }

    /// Asks every server how it stands.
    func askAll() {
        for (_, server) in self.state.withLock({ $0.servers }) { server.send(.report()) }
    }
}

/// How one volume server is started.
struct VolumeServerLaunch: Equatable, Sendable {
    var name: VolumeName
    /// All that cannot change while it runs.
    var arguments: [String]
    /// As in the arguments.
    var sizeBytes: UInt64
    /// The other replicas: told to a server that runs.
    var peers: [PeerPlace]
    /// For a server that is started: one that runs has taken what there was. (Rule R6)
    var formerNodes: [NodeID]
    var cgroup: String
    var directory: String
    /// Where the replica's metadata is.
    var metadataDirectory: String
    var control: String

    init(_ spec: VolumeServerSpec, paths: NodePaths, file: NodeFile, cgroupRoot: String) {
        self.name = spec.policy.name
        self.sizeBytes = spec.policy.sizeBytes
        self.cgroup = ControlGroup(cgroupRoot).child("volumes").child(spec.policy.name.rawValue).path
        self.directory = Self.directory(of: spec.policy.name, paths)
        self.metadataDirectory = paths.directory + "/volumes"
        self.control = paths.control(ofVolume: spec.policy.name)
        var arguments = [
            "volume-server", "--volume", spec.policy.name.rawValue, "--identity", String(spec.identity),
            "--node", String(file.node), "--directory", paths.directory, "--run", paths.run, "--size",
            String(spec.policy.sizeBytes),
            "--backing", spec.replica.backing, "--listen", spec.replica.address,
        ]
        if let rate = spec.policy.resyncBytesPerSecond { arguments += ["--resync-rate", String(rate)] }
        self.arguments = arguments
        self.peers = spec.peers.map { PeerPlace(node: $0.node, address: $0.address) }
        self.formerNodes = spec.formerNodes
    }

    static func directory(of name: VolumeName, _ paths: NodePaths) -> String { "\(paths.run)/volumes/\(name.rawValue)" }

    /// It differs in nothing but a larger size.
    func onlyGrows(from other: VolumeServerLaunch) -> Bool {
        guard self.sizeBytes > other.sizeBytes else { return false }
        let (size, before) = (String(self.sizeBytes), String(other.sizeBytes))
        return self.arguments.count == other.arguments.count
            && zip(self.arguments, other.arguments).allSatisfy { $0 == $1 || ($0 == size && $1 == before) }
    }

    /// The whole command line.
    var words: [String] {
        self.arguments + self.peers.flatMap { ["--peer", "\($0.node.rawValue)=\($0.address)"] }
            + self.formerNodes.flatMap { ["--former", "\($0.rawValue)"] }
    }
}

/// One volume server and the control connection to it.
final class VolumeServerHandle: Sendable {
    private struct State {
        var launch: VolumeServerLaunch
        var socket: Int32 = -1
        var isOwner = false
        var wantsRestart = false
        var isRetired = false
        var outgoing: [UInt8] = []
    }

    /// After its end, doubled each time while it does not live long.
    private static let restartPause = Span.milliseconds(20)
    private static let longLife = Span.seconds(10)
    private static let restartPauseMaximum = Span.seconds(3)
    private static let answerTime = Span.seconds(10)
    private static let eventBytesMaximum = 1 << 20

    private let queue: LoopQueue
    private let log: DriverLog
    private let state: Locked<State>

    init(_ launch: VolumeServerLaunch, queue: LoopQueue, log: DriverLog) {
        self.queue = queue
        self.log = log
        self.state = Locked(State(launch: launch))
    }

    /// Starts the threads that keep the process and its connection, and write to it.
    func start() {
        let name = self.state.withLock { $0.launch.name.rawValue }
        SystemThread.start("vol \(name)") { self.keepForever() }
        SystemThread.start("vol> \(name)") { self.writeForever() }
    }

    /// Another way to start it: takes effect at once, or once the volume is not open here any more. A volume that only
    /// grows is in use meanwhile: its users wait for the next server. (Rule V21)
    func update(_ launch: VolumeServerLaunch) {
        self.state.change { state in
            guard state.launch != launch else { return }
            let isSameServer = state.launch.arguments == launch.arguments
            let onlyGrows = launch.onlyGrows(from: state.launch)
            state.launch = launch
            if isSameServer {
                guard state.socket >= 0 else { return }
                return Self.append(.peers(launch.peers), to: &state.outgoing)
            }
            state.wantsRestart = true
            if onlyGrows { state.isOwner = false }
            if !state.isOwner, state.socket >= 0 { shutdown(state.socket, Int32(SHUT_RDWR)) }
        }
    }

    /// Ends the process whatever it does, and starts the next one.
    func renew() {
        self.state.change { state in
            state.wantsRestart = true
            // Users of an open volume wait for the next server, as for one that was killed. (Rule V23)
            state.isOwner = false
            if state.socket >= 0 { shutdown(state.socket, Int32(SHUT_RDWR)) }
        }
    }

    /// The volume has no replica here any more: ends the process.
    func retire() {
        self.state.change { state in
            state.isRetired = true
            if state.socket >= 0 { shutdown(state.socket, Int32(SHUT_RDWR)) }
        }
    }

    var isOpen: Bool { self.state.withLock { $0.isOwner } }

    /// Queues a command, if somebody is connected.
    func send(_ command: VolumeCommand) {
        self.state.change { state in
            guard state.socket >= 0, state.outgoing.count < 1 << 20 else { return }
            // One that is about to be started anew must not become the owner first.
            if state.wantsRestart, !state.isOwner, case .open = command { return }
            Self.append(command, to: &state.outgoing)
        }
    }

    private static func append(_ command: VolumeCommand, to outgoing: inout [UInt8]) {
        var writer = ByteWriter()
        command.encode(into: &writer)
        LinkFrames.append(writer.bytes, to: &outgoing)
    }

    // MARK: Threads

    private func keepForever() {
        var pidfd: Int32 = -1
        var askedAt: Tick?
        var pause = Self.restartPause
        var isWanted = false
        while true {
            let (launch, isRetired, wantsRestart) = self.state.withLock { ($0.launch, $0.isRetired, $0.wantsRestart) }
            let cgroup = ControlGroup(launch.cgroup)
            if isRetired || wantsRestart {
                _ = cgroup.killAll(until: MachineClock.now + .seconds(5), clock: { MachineClock.now })
                self.state.change { $0.wantsRestart = false }
                if isRetired { break }
                isWanted = true
            }
            let socket = Self.connect(launch.control)
            if socket >= 0 {
                askedAt = nil
                let began = MachineClock.now
                self.serve(socket, launch)
                if MachineClock.now.since(began) > Self.longLife { pause = Self.restartPause }
                continue
            }
            if pidfd >= 0, let end = ProcessEnd.of(pidfd) {
                close(pidfd)
                pidfd = -1
                self.tellEnd(launch, end, isWanted: isWanted)
                if !isWanted {
                    _ = self.state.wait(atMost: pause) { $0.isRetired ? true : nil }
                    pause = min(pause * 2, Self.restartPauseMaximum)
                }
            }
            let isRunning = (try? cgroup.isPopulated()) != false
            if isRunning, let asked = askedAt, MachineClock.now.since(asked) > Self.answerTime {
                self.log.error("the server of volume \(launch.name) does not answer: starting it anew")
                _ = cgroup.killAll(until: MachineClock.now + .seconds(5), clock: { MachineClock.now })
                askedAt = nil
            } else if !isRunning {
                if pidfd >= 0 { close(pidfd) }
                isWanted = false
                pidfd = self.launch(launch, cgroup)
                askedAt = MachineClock.now
            } else if askedAt == nil {
                askedAt = MachineClock.now
            }
            _ = self.state.wait(atMost: .milliseconds(20)) { state -> Bool? in
                state.isRetired || state.wantsRestart ? true : nil
            }
        }
        if pidfd >= 0 { close(pidfd) }
    }

    /// Says that the server ended, how, and with its last words if they are fresh, to the log and to the group that uses
    /// the volume.
    private func tellEnd(_ launch: VolumeServerLaunch, _ end: ProcessEnd, isWanted: Bool) {
        if isWanted {
            self.log.info("the server of volume \(launch.name) starts anew, for \(launch.sizeBytes) bytes")
            return self.queue.change {
                $0.append(.input(.volumeEnded(launch.name, reason: "its server starts anew, as it was asked to")))
            }
        }
        let path = launch.directory + "/server.log"
        let words = Self.lastLine(path).map { ": \($0)" } ?? ""
        self.log.warning("the server of volume \(launch.name) \(end)\(words); see \(path)")
        self.queue.change { $0.append(.input(.volumeEnded(launch.name, reason: "its server \(end)\(words)"))) }
    }

    private static func lastLine(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var facts = stat()
        // An older line explains nothing.
        guard fstat(file, &facts) == 0, time(nil) - facts.st_mtim.tv_sec <= 1 else { return nil }
        _ = lseek(file, max(0, facts.st_size - 2048), SEEK_SET)
        guard case .success(let bytes) = Files.bytes(from: file) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        return ForeignText.lastLines(text)
    }

    private func launch(_ launch: VolumeServerLaunch, _ cgroup: ControlGroup) -> Int32 {
        do {
            try NodePaths.makeDirectory(launch.directory, mode: 0o755)
            try NodePaths.makeDirectory(launch.metadataDirectory, mode: 0o700)
            let started = try ChildProcess.start(
                launch.words, in: cgroup, output: launch.directory + "/server.log")
            self.log.info("started the server of volume \(launch.name), process \(started.pid)")
            return started.pidfd
        } catch {
            self.log.error("the server of volume \(launch.name) cannot be started: \(error)")
            return -1
        }
    }

    /// Reads events until the connection ends.
    private func serve(_ socket: Int32, _ launch: VolumeServerLaunch) {
        self.state.change { state in
            state.outgoing = []
            state.socket = socket
            // An earlier daemon may have started it with others.
            Self.append(.peers(state.launch.peers), to: &state.outgoing)
        }
        self.log.info("connected to the server of volume \(launch.name)")
        let program = RunningProgram.peer(of: socket, notingIn: launch.directory)
        self.queue.change {
            $0.append(.input(.volumeConnected(launch.name)))
            $0.append(
                .input(.runs(.server(launch.name), program, isRenewable: RunningProgram.isWhatWouldBeStarted)))
        }
        while let bytes = SystemSocket.receiveFrame(from: socket, limit: Self.eventBytesMaximum) {
            var fields = ByteReader(bytes)
            let event: VolumeEvent
            do throws(CodecError) { event = try VolumeEvent.decode(from: &fields) } catch {
                self.log.error(
                    "the server of volume \(launch.name) sent something unreadable: \(error); stop its group, and its server "
                        + "starts anew as the release that is installed")
                break
            }
            self.note(event, socket)
            self.queue.change { $0.append(.input(.volume(launch.name, event))) }
        }
        self.state.change { state in
            state.socket = -1
            state.isOwner = false
        }
        close(socket)
        self.queue.change { $0.append(.input(.volumeDisconnected(launch.name))) }
    }

    private func note(_ event: VolumeEvent, _ socket: Int32) {
        self.state.change { state in
            switch event {
            case .opened: state.isOwner = true
            case .closed: state.isOwner = false
            case .status(let status): state.isOwner = status.role == .owner || status.role == .frozen
            case .wantsLeave, .wantsJoin, .wantsOpen, .failed, .copy, .note, .outdated, .takenBack: break
            }
            if state.wantsRestart, !state.isOwner { shutdown(socket, Int32(SHUT_RDWR)) }
        }
    }

    private func writeForever() {
        while true {
            let work = self.state.wait { state -> (Int32, [UInt8])?? in
                if state.isRetired { return .some(nil) }
                guard state.socket >= 0, !state.outgoing.isEmpty else { return nil }
                defer { state.outgoing = [] }
                // A duplicate, so that the reader's close cannot hand the number to somebody else meanwhile.
                return .some((fcntl(state.socket, F_DUPFD_CLOEXEC, 0), state.outgoing))
            }
            guard let work, let (socket, bytes) = work else { return }
            if SystemSocket.send(bytes, to: socket) != 0 { shutdown(socket, Int32(SHUT_RDWR)) }
            close(socket)
        }
    }

    private static func connect(_ path: String) -> Int32 {
        (try? UnixConnection.openBlocking(path)) ?? -1
    }
}
