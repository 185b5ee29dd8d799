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
struct DriverFoundingTests {
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
        try first.giveBack(used)
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
        // Before it is admitted no group is planned for it.
        _ = try await daemon.view { $0.supervisor.state.nodes.first?.standing == .trusted && $0.supervisor.isAdmitted }
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
