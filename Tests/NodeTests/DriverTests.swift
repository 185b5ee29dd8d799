import Basis
import Foundation
import Glibc
import Host
import Raft
import RaftStorage
import Resources
import ScenarioKit
import SecureLink
import Testing

@testable import Cluster
@testable import Daemon
@testable import Reports

@Suite(.timeLimit(.minutes(2)))
struct DriverTests {
    // MARK: Files

    @Test func `a restart by systemd is told from a stop, a reboot and a restart of something else`() {
        let jobs = """
            512 holdfast.service      restart waiting
            513 holdfast-demo.service stop    running
            """
        #expect(ServiceManager.isRestart(of: "holdfast.service", in: jobs))
        #expect(!ServiceManager.isRestart(of: "holdfast-demo.service", in: jobs))
        #expect(!ServiceManager.isRestart(of: "holdfast.service", in: "90 holdfast.service stop running"))
        #expect(ServiceManager.isRestart(of: "holdfast.service", in: "90 holdfast.service try-restart waiting\n"))
        #expect(!ServiceManager.isRestart(of: "holdfast.service", in: "No jobs running.\n"))
    }

    @Test func `an address is a host and a port, and nothing else`() {
        #expect(HostPort("10.0.0.1:7400")?.host == "10.0.0.1")
        #expect(HostPort("[fd00::1]:7400")?.host == "fd00::1")
        #expect(HostPort("[fd00::1]:7400")?.port == 7400)
        for wrong in ["", "host", "host:", "host:0", "host:70000", ":7400", "fd00::1:7400", "a b:1"] {
            #expect(HostPort(wrong) == nil, "\(wrong)")
        }
    }

    @Test func `a directory without a node is named with its remedy`() throws {
        let scratch = try ScratchDirectory()
        let paths = NodePaths(directory: scratch.path, run: scratch.path)
        #expect(throws: DriverError.notInitialised(directory: scratch.path)) { try NodeFile.read(paths) }
        try FileManager.default.createDirectory(atPath: paths.log, withIntermediateDirectories: true)
        #expect(throws: DriverError.halfInitialised(directory: scratch.path)) { try NodeFile.read(paths) }
        #expect(throws: DriverError.halfInitialised(directory: scratch.path)) { try NodeFile.requireFresh(paths) }
    }

    @Test func `facts survive a restart of the daemon, damaged ones count as none`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/facts.json"
        #expect(try FactsFile.read(path) == nil)
        let facts = Facts(
            bootID: "boot", incarnation: Incarnation(4),
            groups: [
                .init(
                    name: GroupName("a \"b\" \\ \u{1}\n ü"), epoch: Epoch(generation: 0, index: 7), isUp: false,
                    resources: .max),
                .init(name: GroupName("web"), epoch: Epoch(generation: 1, index: 16), isUp: true, resources: 7),
            ])
        try FactsFile.write(facts, to: path)
        #expect(try FactsFile.read(path) == facts)
        var others = facts
        others.takenBack = [.init(volume: VolumeName("pg \"data\""), mark: .max)]
        try FactsFile.write(others, to: path)
        #expect(try FactsFile.read(path) == others)
        try Data("{\"bootID\":\"bo".utf8).write(to: URL(fileURLWithPath: path))
        #expect(try FactsFile.read(path) == nil)
    }

    @Test func `a lease is published with its end last and read back`() throws {
        let scratch = try ScratchDirectory()
        let page = try LeasePage(path: scratch.path + "/lease")
        #expect(page.end == .zero)
        page.publish(end: Tick(nanoseconds: 5), Incarnation(9), grace: .milliseconds(750))
        let other = try LeasePage(path: scratch.path + "/lease")
        #expect(other.end == Tick(nanoseconds: 5))
        #expect(other.incarnation == Incarnation(9))
    }

    // MARK: Small parts

    @Test func `a repeated note is written once, and counted`() {
        var filter = NoteFilter()
        #expect(filter.admit("a", at: .zero) == "a")
        #expect(filter.admit("a", at: .zero + .seconds(1)) == nil)
        #expect(filter.admit("b", at: .zero + .seconds(1)) == "b")
        #expect(filter.admit("a", at: .zero + .seconds(10)) == "a (1 times more since the last line)")
    }

    @Test func `a wait ends with a change, or with its limit`() {
        let lock = Locked(0)
        #expect(lock.wait(atMost: .zero) { $0 == 1 ? true : nil } == nil)
        SystemThread.start("changer") { lock.change { $0 = 1 } }
        #expect(lock.wait { $0 == 1 ? true : nil } == true)
    }

    @Test func `what is said when joining is read back, and damage is refused`() throws {
        let about = JoiningNode(name: "osk-1", site: "osaka", address: "10.0.0.2:7400", isWitness: true)
        let question = JoinQuestion(
            secret: Array(repeating: 7, count: 16), request: "PEM", about: about, proof: [1, 2])
        #expect(try JoinQuestion(decoding: question.encoded) == question)
        for length in 0..<question.encoded.count {
            #expect(throws: CodecError.self) { try JoinQuestion(decoding: Array(question.encoded[..<length])) }
        }
        let welcome = JoinAnswer.welcome(
            .init(
                cluster: "prod", clusterID: "00ff", node: NodeID(2), authority: "A", certificate: "B",
                peers: [PeerSpec(node: NodeID(1), name: "tok-1", address: "10.0.0.1:7400")]))
        #expect(try JoinAnswer(decoding: welcome.encoded) == welcome)
        #expect(try JoinAnswer(decoding: JoinAnswer.refused("no").encoded) == .refused("no"))
    }

    @Test func `a time stamp is the universal time in milliseconds`() {
        #expect(DriverLog.stamp(1_000_000_000_042) == "2001-09-09T01:46:40.042Z")
    }

    @Test func `a line has a time, or for the journal how much it matters`() {
        func line(_ level: DriverLog.Level, isJournal: Bool) -> String {
            DriverLog.line(level, "the disk is full", at: 1_000_000_000_042, isJournal: isJournal)
        }
        #expect(line(.warning, isJournal: false) == "2001-09-09T01:46:40.042Z warning: the disk is full\n")
        #expect(line(.info, isJournal: true) == "<6>info: the disk is full\n")
        #expect(line(.warning, isJournal: true) == "<4>warning: the disk is full\n")
        #expect(line(.error, isJournal: true) == "<3>error: the disk is full\n")
    }

    @Test func `a process takes standard error for the journal only when it is that socket`() {
        // What the name says is inherited; where standard error leads may have changed since.
        #expect(!Journal.takesStandardError(nil))
        #expect(!Journal.takesStandardError(""))
        #expect(!Journal.takesStandardError("8:1"))
        #expect(Journal.marked(.error, "no disk\n  replace it\n") == "<3>no disk\n<3>  replace it\n")
    }

    @Test func `the service manager hears that the daemon is ready`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/notify"
        #expect(!ServiceManager.tell("READY=1", at: path))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let listener = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(listener) }
        let bound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        #expect(ServiceManager.tell("READY=1", at: path))
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = recv(listener, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        #expect(String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == "READY=1")
    }

    @Test func `a clock is named when it is seconds off, and not when it is milliseconds off`() {
        let now: UInt64 = 1_700_000_000_000
        func warning(_ milliseconds: UInt64) -> String? {
            StatusBuilder.warning(name: "osk-1", milliseconds: milliseconds, leader: "tok-1", leaderMilliseconds: now)
        }
        #expect(warning(now) == nil)
        #expect(warning(now + 3000) == nil)
        #expect(warning(now - 259_200_000)?.hasPrefix("the clock of osk-1 is 3 d behind that of tok-1") == true)
        #expect(warning(now + 7_200_000)?.contains("is 2 h ahead of that of tok-1") == true)
        #expect(warning(0) != nil)
        #expect(warning(.max) != nil)
    }

    // MARK: Founding, joining, serving

    @Test func `init founds a cluster once, and says so when repeated`() async throws {
        let scratch = try ScratchDirectory()
        let paths = try SmallDaemon.found(in: scratch)
        #expect(throws: DriverError.alreadyInitialised(directory: paths.directory)) {
            try Founding.initialize(
                NodeInitOptions(
                    cluster: "prod", name: "tok-1", site: "tokyo", address: "127.0.0.1:1", role: .member,
                    directory: paths.directory), acceptsLoopback: true)
        }
        let daemon = try SmallDaemon(paths)
        // Until it is admitted it says that it is not up yet, and not how many nodes are missing.
        let view = try await daemon.view { $0.supervisor.state.nodes.first?.standing == .trusted }
        #expect(view.supervisor.isCaughtUp)
        #expect(view.supervisor.state.clusterName == "prod")
        #expect(view.supervisor.state.nodes.map(\.about.name) == ["tok-1"])
        let report = try await daemon.backend.status()
        #expect(report.hasQuorum)
        #expect(report.health == .degraded)
        #expect(report.survivesFailures == 0)
        #expect(report.reasons.count == 1)
        #expect(report.reasons.first?.hasPrefix("1 of at least 3 nodes joined") == true, "\(report.reasons)")
    }

    @Test func `a daemon that runs on draws further marks of its log, and its disk holds them first (rule E2.3)`()
        async throws
    {
        let scratch = try ScratchDirectory()
        let paths = try SmallDaemon.found(in: scratch)
        let durable = Locked(LogMemory(directory: .none))
        let daemon = try SmallDaemon(
            paths, markInterval: .milliseconds(20),
            persist: { store, request in
                try store.persist(request)
                durable.change { $0 = store.memory }
            })
        let view = try await daemon.view { $0.supervisor.identity.memory.present.draw >= 3 }
        let mark = view.supervisor.identity.memory.present
        #expect(durable.withLock { $0.remembers(mark) })
        #expect(view.supervisor.isAdmitted)
    }

    @Test func `clocks that part are told to the supervisor, and the log gets another mark (rule E4.3)`() async throws {
        let scratch = try ScratchDirectory()
        let clock = scratch.path + "/clock"
        func set(ahead seconds: UInt64) throws {
            let text = "\(MachineClock.now.nanoseconds / 1_000_000_000 + seconds)\n"
            try Data(text.utf8).write(to: URL(fileURLWithPath: clock))
        }
        try set(ahead: 1000)
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch), hardwareClock: clock)
        let before = try await daemon.view { $0.supervisor.isAdmitted }
        let first = before.supervisor.identity.memory.present.draw
        // The file does not tick: on a slow machine the clocks part by themselves too.
        try set(ahead: 1060)
        let after = try await daemon.view {
            $0.supervisor.identity.memory.present.draw > first && $0.supervisor.isAdmitted
        }
        #expect(after.supervisor.me?.mark == after.supervisor.identity.memory.present)
        #expect(after.supervisor.me?.incarnation == before.supervisor.me?.incarnation)
        #expect(after.supervisor.doubtSince != .zero)
    }

    @Test func `a daemon that learns that its machine was taken back ends its lease, and puts its log aside (rule E4)`()
        async throws
    {
        let scratch = try ScratchDirectory()
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch))
        let view = try await daemon.view { $0.supervisor.hasLease(at: $0.now) }
        #expect(daemon.lease.end > view.now)
        let other = StartMark(directory: DirectoryID(high: 3, low: 3), start: 1, nonce: 3)
        let word = HearingWord(
            run: view.supervisor.identity.memory.present.run, stamp: view.now, heard: .zero, seen: 1_000_000)
        let ping = Envelope(
            from: NodeID(2), to: NodeID(1), isRelayed: false, mark: other, word: word,
            message: .ping(hears: [], reaches: []))
        daemon.queue.change { $0.append(.input(.receive(ping, via: NodeID(2)))) }
        _ = try await daemon.view { $0.supervisor.hasForgotten }
        #expect(daemon.lease.end == .zero)
        #expect(daemon.forgotten.withLock { $0.count } == 1)
    }

    @Test func `a node joins with a token once, and the token is void then`() async throws {
        let scratch = try ScratchDirectory()
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch))
        _ = try await daemon.view { $0.supervisor.isCaughtUp }
        let token = try await daemon.backend.createToken().token
        func options(_ name: String) -> NodeJoinOptions {
            NodeJoinOptions(
                token: token, name: name, site: "osaka", address: "127.0.0.1:\(QuietPort.take())", role: .member,
                directory: "\(scratch.path)/\(name)")
        }
        try Founding.join(options("osk-1"), acceptsLoopback: true)
        let file = try NodeFile.read(NodePaths(directory: "\(scratch.path)/osk-1", run: ""))
        #expect(file.id == NodeID(2))
        #expect(file.clusterID == daemon.file.clusterID)
        #expect(file.peers.map(\.name) == ["tok-1"])
        let failure = #expect(throws: APIFailure.self) {
            try Founding.join(options("osk-2"), acceptsLoopback: true)
        }
        #expect(failure?.code == .refused)
        #expect(failure?.message.contains("the token was used") == true)
        #expect(!FileManager.default.fileExists(atPath: "\(scratch.path)/osk-2"), "who was refused leaves nothing")
    }

    @Test
    func `a token survives the daemon, but neither its use nor a reboot nor an hour, and the file does not tell it`()
        throws
    {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/tokens.json"
        let now = Tick.zero + .seconds(100)
        let end = now + .seconds(3600)
        let (used, kept) = ([UInt8](repeating: 0xA5, count: 16), [UInt8](repeating: 0x5A, count: 16))
        let first = JoinTokens(path: path, bootID: "boot")
        try first.add(used, until: end, at: now)
        try first.add(kept, until: end, at: now)
        #expect(try first.claim(used, for: "osk-1", at: now))
        #expect(try !first.claim(used, for: "osk-1", at: now), "two machines at once")
        try first.release(used)
        #expect(try first.claim(used, for: "osk-1", at: now))
        try first.use(used)

        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(!text.contains("5a5a5a5a") && !text.contains("a5a5a5a5"))
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        let second = JoinTokens(path: path, bootID: "boot")
        #expect(try !second.claim(used, for: "osk-1", at: now))
        #expect(try !second.claim(kept, for: "osk-1", at: end))
        #expect(try second.claim(kept, for: "osk-1", at: now))
        #expect(try !JoinTokens(path: path, bootID: "another").claim(kept, for: "osk-1", at: now))
        try "damaged".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try !JoinTokens(path: path, bootID: "boot").claim(kept, for: "osk-1", at: now))
    }

    @Test func `two daemons that joined replicate what one of them is told`() async throws {
        let scratch = try ScratchDirectory()
        let first = try SmallDaemon(try SmallDaemon.found(in: scratch))
        _ = try await first.view { $0.supervisor.isCaughtUp }
        let paths = NodePaths(directory: "\(scratch.path)/b", run: "\(scratch.path)/b-run")
        try Founding.join(
            NodeJoinOptions(
                token: try await first.backend.createToken().token, name: "osk-1", site: "osaka",
                address: "127.0.0.1:\(QuietPort.take())", role: .member, directory: paths.directory),
            acceptsLoopback: true)
        let second = try SmallDaemon(paths)
        _ = try await second.view { $0.supervisor.isCaughtUp }
        let result = try await second.backend.nodeDrain("tok-1", MutationRequest())
        #expect(result.accepted)
        let view = try await first.view { $0.supervisor.state.appliedIndex.rawValue >= result.index }
        #expect(view.supervisor.state.node(named: "tok-1")?.isDrained == true)
    }

    @Test func `a log that cannot be written is never passed off as durable`() async throws {
        let scratch = try ScratchDirectory()
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch), fails: true)
        let view = try await daemon.view { $0.isPoisoned }
        #expect(!view.supervisor.consensus.isLeader)
        #expect(view.supervisor.consensus.hasFailedDisk)
        let report = try await daemon.backend.status()
        #expect(report.health == .noQuorum)
        #expect(daemon.failures.withLock { $0 } == 1)
    }

    @Test func `a disk that answers is never taken for dead, one that fails is`() throws {
        let scratch = try ScratchDirectory()
        var sound = try DiskProbe(directory: scratch.path)
        var broken = DiskProbe(path: "broken") { .file(path: "broken", reason: "EIO", remedy: "") }
        var failures = 0
        for second in 1..<20 {
            let now = Tick.zero + .seconds(UInt64(second))
            #expect(sound.look(at: now) == nil)
            sound.waitForAnswer()
            failures += broken.look(at: now) == nil ? 0 : 1
            broken.waitForAnswer()
        }
        #expect(failures == 18)
        #expect(throws: DriverError.self) { try DiskProbe(directory: scratch.path + "/missing") }
    }

    @Test
    func `a silent disk is dead after five seconds in which the loop ran, a pause of the machine is not its fault`() {
        let never = Locked(false)
        var probe = DiskProbe(path: "silent") {
            _ = never.wait { $0 ? true : nil }
            return nil
        }
        defer { never.change { $0 = true } }
        #expect(probe.look(at: .zero + .seconds(1)) == nil)
        let late = Tick.zero + .seconds(100)
        let early = (1...49).filter { _ in probe.look(at: late) != nil }
        #expect(early.isEmpty)
        #expect(probe.look(at: late) != nil)
        never.change { $0 = true }
        probe.waitForAnswer()
        #expect(probe.look(at: late) == nil)
    }

    @Test func `mistakes in a configuration come back as usage, one line each`() async throws {
        let scratch = try ScratchDirectory()
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch))
        _ = try await daemon.view { $0.supervisor.isCaughtUp }
        let wrong = """
            cluster: prod
            groups:
              web:
                nodes: [nowhere]
                resources: [{ name: srv, agent: exec }]
            """
        let failure = await #expect(throws: APIFailure.self) {
            try await daemon.backend.apply(ApplyRequest(text: wrong))
        }
        #expect(failure?.code == .usage)
        #expect((failure?.details.count ?? 0) >= 2)
        let right = """
            cluster: prod
            groups:
              web:
                nodes: [tok-1]
                resources: [{ name: srv, agent: exec, command: "sleep 1" }]
            """
        let result = try await daemon.backend.apply(ApplyRequest(text: right))
        #expect(result.accepted)
        #expect(result.actions.map(\.sentence) == ["start web on tok-1"])
        let conflict = await #expect(throws: APIFailure.self) {
            try await daemon.backend.apply(ApplyRequest(text: right, expectedIndex: 0))
        }
        #expect(conflict?.code == .conflict)
        let unknown = await #expect(throws: APIFailure.self) {
            try await daemon.backend.groupStop("nothing", MutationRequest())
        }
        #expect(unknown?.code == .notFound)
    }
}
