import Basis
import Foundation
import Glibc
import Host
import Mirror
import Raft
import Reports
import Resources
import ScenarioKit
import SecureLink
import Testing

@testable import API
@testable import Cluster
@testable import Daemon

/// Each format in a version that this release does not read: refused by name, with what was found, what is read, and a remedy.
/// The log's files are in `RaftTests`, frames and metadata of copies in `MirrorTests`. (docs/formats.md)
@Suite struct FormatTests {
    /// The error of `body`, in words.
    private func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "it was not refused"
        } catch { return "\(error)" }
    }

    private func expect(_ text: String, names words: String...) {
        for word in words { #expect(text.contains(word), "\(text)") }
    }

    @Test func `the page of formats names every format with the version that is written`() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/formats.md")
        let rows = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("| ") }
            .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
        for format in Format.allCases {
            let row = rows.first { $0[0] == format.rawValue }
            #expect(row?[1] == "\(format.version)", "\(format.rawValue)")
            #expect(format.oldest <= format.version && format.version > 0)
        }
        #expect(rows.count == Format.allCases.count + 2, "and no other: two rows are the head of the table")
    }

    // MARK: The log and what nodes say

    private static let command = LogCommand(
        origin: NodeID(0x01_0203), nonce: 1, sequence: 2, clusterMilliseconds: 3, wallMilliseconds: 4,
        command: .suspect(NodeID(3), Incarnation(9)))

    @Test func `an entry of another version is not applied, and its suspicion is seen all the same (rule L4)`() throws {
        var bytes = Self.command.encoded
        #expect(try LogCommand(decoding: bytes) == Self.command)
        bytes[3] = 3
        let text = self.refusal { _ = try LogCommand(decoding: bytes) }
        self.expect(text, names: "version 4 of the log entries", "this release reads 1 to 3")
        #expect(LogCommand.isSuspicion(bytes))
    }

    @Test func `a node that cannot read an entry says which, and what to install`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        var supervisor = try #require(trio.supervisors[NodeID(3)])
        var effects: [SupervisorEffect] = []
        var bytes = Self.command.encoded
        bytes[3] = 6
        let error = try #require(throws: CodecError.self) { try LogCommand(decoding: bytes) }
        supervisor.stopApplying("entry 3/7", error, at: trio.tick, into: &effects)
        self.expect(
            try #require(supervisor.unreadable), names: "entry 3/7", "version 7 of the log entries",
            "this release reads 1 to 3",
            "install the release that the other nodes run")
    }

    @Test func `a snapshot of another version is refused`() throws {
        var bytes = ClusterState().encoded
        #expect(try ClusterState(decoding: bytes) == ClusterState())
        bytes[0] = 9
        self.expect(
            self.refusal { _ = try ClusterState(decoding: bytes) }, names: "version 9 of the replicated state",
            "this release reads 1 to 4")
    }

    @Test func `a message of another version ends the connection, and the log names the peer`() throws {
        let envelope = Envelope(
            from: NodeID(0x01_0203), to: NodeID(1), isRelayed: false, mark: .none, message: .readRequest(id: 4))
        var bytes = envelope.encoded(in: 2)
        #expect(try Envelope(decoding: bytes) == envelope)
        bytes[3] = 2
        let error = try #require(throws: CodecError.self) { try Envelope(decoding: bytes) }
        let text = Transport.complaint(error, "osk-1")
        self.expect(
            text, names: "osk-1 speaks version 3 of the messages between daemons", "this release reads 1 to 2",
            "run the same release on every node")
        #expect(Transport.complaint(.truncated(offset: 3), "osk-1").contains("unreadable"))
    }

    @Test func `a node id that leaves no room for a version is given to nobody`() {
        var state = ClusterState()
        state.clusterID = 1
        let node = JoiningNode(name: "tok-1", site: "s", address: "10.0.0.1:7400", role: .member)
        state.nodesEver = ClusterState.nodesMaximum - 1
        #expect(state.objection(toJoining: node) == nil)
        state.nodesEver += 1
        #expect(state.objection(toJoining: node) != nil)
    }

    // MARK: Joining

    @Test func `a question to join in another version is told from a damaged one`() throws {
        let about = JoiningNode(name: "osk-1", site: "osaka", address: "10.0.0.2:7400", role: .member)
        let question = JoinQuestion(secret: [1], request: "PEM", about: about, proof: [2])
        #expect(Array(question.encoded(in: Format.join.version)[..<4]) == Array("hfj5".utf8))
        var bytes = question.encoded(in: Format.join.version)
        bytes[3] = UInt8(ascii: "6")
        self.expect(
            self.refusal { _ = try JoinQuestion(decoding: bytes) }, names: "version 6 of the join messages",
            "this release reads 4 to 5")
        bytes[0] = 0
        #expect(!self.refusal { _ = try JoinQuestion(decoding: bytes) }.contains("version"))
    }

    @Test func `a machine of the release before asks to join in its version, and can do what that does`() throws {
        let about = JoiningNode(name: "osk-1", site: "osaka", address: "10.0.0.2:7400", role: .member)
        let question = JoinQuestion(secret: [1], request: "PEM", about: about, proof: [2], level: FeatureLevel(9))
        #expect(try JoinQuestion(decoding: question.encoded(in: 5)).level == FeatureLevel(9))
        let bytes = question.encoded(in: 4)
        #expect(Array(bytes[..<4]) == Array("hfj4".utf8))
        var expected = question
        expected.level = .first
        #expect(try JoinQuestion(decoding: bytes) == expected)
    }

    @Test func `a question about certificates in another version is told from a damaged one`() throws {
        let question = CertificateQuestion.certificate(request: "PEM")
        #expect(Array(question.encoded[..<4]) == Array("hfc1".utf8))
        #expect(try CertificateQuestion(decoding: question.encoded) == question)
        var bytes = question.encoded
        bytes[3] = UInt8(ascii: "2")
        self.expect(
            self.refusal { _ = try CertificateQuestion(decoding: bytes) },
            names: "version 2 of the certificate messages",
            "this release reads 1")
        bytes[0] = 0
        #expect(!self.refusal { _ = try CertificateQuestion(decoding: bytes) }.contains("version"))
        for answer in [CertificateAnswer.certificate("PEM"), .refused("nobody is here")] {
            #expect(try CertificateAnswer(decoding: answer.encoded) == answer)
        }
    }

    @Test func `a token of another version says so`() throws {
        let token = try JoinToken(host: "h", port: 1, certificateAuthorityFingerprint: .init(repeating: 0, count: 32))
        #expect(try JoinToken(token.description) == token)
        let foreign = "hf2" + token.description.dropFirst(3)
        self.expect(self.refusal { _ = try JoinToken(foreign) }, names: "another version of Holdfast")
    }

    // MARK: Files

    @Test func `a node file of another version keeps the daemon from starting`() throws {
        let scratch = try ScratchDirectory()
        let paths = NodePaths(directory: scratch.path, run: scratch.path)
        let file = NodeFile(
            cluster: "prod", clusterID: "c1", node: 2, name: "n2", site: "s", address: "127.0.0.1:7400", role: .witness,
            peers: [])
        try file.write(paths)
        #expect(try NodeFile.read(paths) == file)
        var newer = file
        newer.version = 4
        try newer.write(paths)
        self.expect(
            self.refusal { _ = try NodeFile.read(paths) }, names: paths.nodeFile, "version 4 of the node file",
            "this release reads 1", "install the release that wrote it")
    }

    @Test func `tokens of another release are neither taken nor overwritten`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/tokens.json"
        let content = #"{"version": 2, "secrets": []}"#
        try Data(content.utf8).write(to: URL(filePath: path))
        let tokens = JoinTokens(path: path, bootID: "b")
        for text in [
            self.refusal { try tokens.add([1], until: .never, at: .zero) },
            self.refusal { _ = try tokens.claim([1], for: "osk-1", at: .zero) },
        ] {
            self.expect(text, names: path, "version 2 of the token file", "install the release that wrote it")
        }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == content)
    }

    @Test func `facts of another release are not adopted, and the daemon says why`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/facts.json"
        let facts = Facts(bootID: "b", incarnation: Incarnation(7), groups: [])
        try FactsFile.write(facts, to: path)
        #expect(try FactsFile.read(path) == facts)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacing(#""version":2"#, with: #""version":3"#).write(
            toFile: path, atomically: true, encoding: .utf8)
        self.expect(
            self.refusal { _ = try FactsFile.read(path) }, names: path, "version 3 of the facts file",
            "this release reads 2", "install the release that wrote it")
    }

    @Test func `a run directory that another release began is left alone`() throws {
        let scratch = try ScratchDirectory()
        let path = VersionedFile.mark(ofRunDirectory: scratch.path)
        try VersionedFile.claim(runDirectory: scratch.path)
        try VersionedFile.claim(runDirectory: scratch.path)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "1\n")
        try "2\n".write(toFile: path, atomically: true, encoding: .utf8)
        self.expect(
            self.refusal { try VersionedFile.claim(runDirectory: scratch.path) }, names: path,
            "version 2 of the run directory", "this release reads 1", "install the release that wrote it")
        try "two\n".write(toFile: path, atomically: true, encoding: .utf8)
        self.expect(self.refusal { try VersionedFile.claim(runDirectory: scratch.path) }, names: path, "no number")
    }

    @Test func `what a node follows is read as written, and from a release that kept less (rules R1, E2.10)`() throws {
        let scratch = try ScratchDirectory()
        let paths = NodePaths(directory: scratch.path, run: scratch.path)
        #expect(try GenerationFile.read(paths) == GenerationRecord(.first))
        let (present, later) = (Generation(number: 2, recovery: .max), Generation(number: 3, recovery: 5))
        let log = DirectoryID(high: .max, low: 1)
        for record in [
            GenerationRecord(present), GenerationRecord(present, preparedWith: log),
            GenerationRecord(present, overtakenBy: later, preparedWith: log),
        ] {
            try GenerationFile.write(record, paths)
            #expect(try GenerationFile.read(paths) == record)
        }
        let earlier = #"{"version": 1, "generation": {"number": 2, "recovery": 7}}"#
        try earlier.write(toFile: paths.generation, atomically: true, encoding: .utf8)
        #expect(try GenerationFile.read(paths) == GenerationRecord(Generation(number: 2, recovery: 7)))
    }

    @Test func `a lease page of another layout is mapped by nobody`() throws {
        let scratch = try ScratchDirectory()
        let paths = NodePaths(directory: scratch.path, run: scratch.path)
        let page = try Daemon.leasePage(paths)
        page.publish(end: .zero + .seconds(5), Incarnation(9), grace: .seconds(1))
        #expect(try Daemon.leasePage(paths).end == page.end)
        // The ninth word: in every version it says which one the page is, less one.
        let file = try FileHandle(forUpdating: URL(filePath: paths.lease))
        try file.seek(toOffset: 64)
        #expect(try file.read(upToCount: 8) == Data([UInt8(Format.leasePage.version) - 1, 0, 0, 0, 0, 0, 0, 0]))
        try file.seek(toOffset: 64)
        try file.write(contentsOf: Data([1]))
        try file.close()
        #expect(throws: Errno(EPROTONOSUPPORT)) { _ = try LeasePage(path: paths.lease) }
        self.expect(
            self.refusal { _ = try Daemon.leasePage(paths) }, names: paths.lease, "another release made it",
            "install that release")
    }

    // MARK: A node's own processes

    @Test func `a volume server or a daemon of another version is named as one`() throws {
        var writer = ByteWriter()
        writer.uint8(255)
        writer.uint32(2)
        let bytes = writer.bytes
        for text in [
            self.refusal {
                var reader = ByteReader(bytes)
                _ = try VolumeEvent.decode(from: &reader)
            },
            self.refusal {
                var reader = ByteReader(bytes)
                _ = try VolumeCommand.decode(from: &reader)
            },
        ] {
            self.expect(text, names: "version 2 of the volume control messages", "this release reads 1")
        }
    }

    @Test func `an answer of the API in another version is not taken for one of this`() async throws {
        try await ServedAPI.run { api in
            api.backend.with { $0.status.apiVersion = 2 }
            let failure = await #expect(throws: APIFailure.self) { _ = try await api.client.status() }
            let text = failure?.description ?? ""
            self.expect(
                text, names: api.socketPath, "version 2 of the API", "this release reads 1",
                "a command line and a daemon of the same version")
        }
    }
}
