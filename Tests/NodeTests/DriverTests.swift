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
        let about = JoiningNode(name: "osk-1", site: "osaka", address: "10.0.0.2:7400", role: .witness)
        let question = JoinQuestion(
            secret: Array(repeating: 7, count: 16), request: "PEM", about: about, proof: [1, 2])
        #expect(try JoinQuestion(decoding: question.encoded(in: Format.join.version)) == question)
        for length in 0..<question.encoded(in: Format.join.version).count {
            #expect(throws: CodecError.self) {
                try JoinQuestion(decoding: Array(question.encoded(in: Format.join.version)[..<length]))
            }
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
}
