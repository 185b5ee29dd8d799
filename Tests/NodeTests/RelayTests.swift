import Basis
import Foundation
import Host
import Raft
import Reports
import ScenarioKit
import SecureLink
import Testing

@testable import Cluster
@testable import Daemon

/// Node 2 with a real door, and node 3 at it: a voter that passes on what node 1 sends, or makes up what it likes.
private final class Relayed {
    let scratch: ScratchDirectory
    let authority: CertificateAuthority
    let transport: Transport
    let stream: TLSStream
    let address: String
    let sender: RelaySeals
    let received = Locked<[UInt64]>([])
    static let mark = StartMark(directory: DirectoryID(high: 1, low: 1), start: 3, nonce: 3)

    init(roll: PeerRoll? = nil) throws {
        self.scratch = try ScratchDirectory()
        self.authority = try CertificateAuthority.create(clusterName: "prod")
        let directory = self.scratch.path
        try self.authority.save(certificatePath: directory + "/ca.crt", keyPath: directory + "/ca.key")
        let authority = self.authority
        func identity(_ node: UInt32) throws -> TLSIdentity {
            try Self.identity(node, of: authority, in: directory)
        }
        let port = QuietPort.take()
        self.address = "127.0.0.1:\(port)"
        let file = NodeFile(
            cluster: "prod", clusterID: "c1", node: 2, name: "n2", site: "s", address: "127.0.0.1:\(port)",
            role: .member, peers: [])
        self.transport = try Transport(file, identity: try identity(2), log: DriverLog(), parted: { _, _ in })
        self.sender = try RelaySeals(node: NodeID(1), cluster: "c1", identity: try identity(1))
        let received = self.received
        if let roll { self.transport.keep(roll) }
        self.transport.start(
            Transport.Handlers(
                receive: { envelope, _ in
                    if case .readRequest(let id) = envelope.message { received.change { $0.append(id) } }
                }, join: { stream, _ in stream.shutdown() }, certificates: { stream, _ in stream.shutdown() },
                twins: { _, _, _ in }))
        self.stream = try TLSStream.connect(
            host: "127.0.0.1", port: port, context: try TLSContext(identity: try identity(3)), timeout: .seconds(20))
    }

    deinit { self.stream.shutdown() }

    static func identity(
        _ node: UInt32, of authority: CertificateAuthority, in directory: String
    ) throws -> TLSIdentity {
        let key = try NodeKey.create()
        let certificate = try authority.issue(
            nodeName: "n\(node)", node: NodeID(node), clusterID: "c1",
            request: try key.certificateRequest(nodeName: "n\(node)"), valid: Validity(from: 0, until: 1))
        try key.save(to: "\(directory)/\(node).key")
        try PEMFile.write(certificate, to: "\(directory)/\(node).crt", isSecret: false)
        return TLSIdentity(
            certificateAuthorityPath: directory + "/ca.crt", certificatePath: "\(directory)/\(node).crt",
            keyPath: "\(directory)/\(node).key")
    }

    func message(_ id: UInt64, mark: StartMark = mark) -> Envelope {
        Envelope(from: NodeID(1), to: NodeID(2), isRelayed: true, mark: mark, message: .readRequest(id: id))
    }

    func sealed(_ id: UInt64, mark: StartMark = mark) throws -> Envelope {
        try #require(self.sender.sealed(self.message(id, mark: mark)))
    }

    /// Node 3 hands it over.
    func hand(_ envelope: Envelope) throws {
        let bytes = envelope.encoded(in: Format.envelope.oldest)
        let length = (0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) }
        try (length + bytes).withUnsafeBytes { try self.stream.write($0) }
    }

    /// What has arrived once this last one has.
    func arrived(until last: UInt64) -> [UInt64] {
        self.received.wait(atMost: .seconds(20)) { $0.last == last ? $0 : nil } ?? self.received.withLock { $0 }
    }

    /// Whether node 2 ended the connection.
    func isShownOut() -> Bool {
        let ended = Locked(false)
        let stream = self.stream
        SystemThread.start("waits for the end") {
            var buffer = [UInt8](repeating: 0, count: 1)
            let count = (try? buffer.withUnsafeMutableBytes { try stream.read(into: $0) }) ?? 0
            ended.change { $0 = count == 0 }
        }
        return ended.wait(atMost: .seconds(20)) { $0 ? true : nil } ?? false
    }
}

@Suite struct `What a voter passes on` {
    @Test func `arrives as its sender signed it (rule L16)`() throws {
        let relayed = try Relayed()
        try relayed.hand(try relayed.sealed(1))
        try relayed.hand(try relayed.sealed(2))
        #expect(relayed.arrived(until: 2) == [1, 2])
    }

    @Test func `is nothing that it made up or changed: the link ends (rule L16)`() throws {
        for forge in [
            { relayed in relayed.message(7) },
            { relayed in
                var changed = try relayed.sealed(7)
                changed.message = .readRequest(id: 8)
                return changed
            },
            { relayed in
                var changed = try relayed.sealed(7)
                changed.mark.nonce += 1
                return changed
            },
            { relayed in
                var other = try relayed.sealed(7)
                other.from = NodeID(4)
                return other
            },
        ] as [(Relayed) throws -> Envelope] {
            let relayed = try Relayed()
            try relayed.hand(try forge(relayed))
            #expect(relayed.isShownOut())
            #expect(relayed.received.withLock { $0 }.isEmpty)
        }
    }

    @Test func `is taken once, and not after a later one (rule L16)`() throws {
        let relayed = try Relayed()
        let first = try relayed.sealed(1)
        let second = try relayed.sealed(2)
        try relayed.hand(second)
        try relayed.hand(first)
        try relayed.hand(second)
        try relayed.hand(try relayed.sealed(3))
        #expect(relayed.arrived(until: 3) == [2, 3])
        // A later start of the sender's log counts anew, and an earlier one never again.
        var later = Relayed.mark
        later.start += 1
        let old = try relayed.sealed(4)
        try relayed.hand(try relayed.sealed(5, mark: later))
        try relayed.hand(old)
        try relayed.hand(try relayed.sealed(6, mark: later))
        #expect(relayed.arrived(until: 6) == [2, 3, 5, 6])
    }
}

@Suite struct `What a node hears that has left (J6)` {
    private static let generation = Generation(number: 2, recovery: 99)

    /// Of three ids that were given, node 3 is none any more.
    private static let roll = PeerRoll(peers: [], own: nil, idsGiven: 3, generation: Self.generation)

    @Test func `it is told when it dials, and of which generation the log is that says so`() throws {
        let relayed = try Relayed(roll: Self.roll)
        #expect(Farewell.wait(on: relayed.stream) == .left(Self.generation))
    }

    @Test func `it is told over the connection that it has`() throws {
        let relayed = try Relayed()
        try relayed.hand(try relayed.sealed(1))
        #expect(relayed.arrived(until: 1) == [1])
        relayed.transport.keep(Self.roll)
        #expect(Farewell.wait(on: relayed.stream) == .left(Self.generation))
    }

    @Test func `it is told by whoever has the address of one that it knew`() throws {
        let relayed = try Relayed(roll: Self.roll)
        let identity = try Relayed.identity(3, of: relayed.authority, in: relayed.scratch.path)
        let heard = Locked<(NodeID, Parting)?>(nil)
        let link = PeerLink(
            PeerSpec(node: NodeID(1), name: "n1", address: relayed.address),
            context: try TLSContext(identity: identity),
            cluster: "c1", log: DriverLog(), parted: { node, parting in heard.change { $0 = (node, parting) } })
        link.start()
        link.look(at: MachineClock.now)
        let word = heard.wait(atMost: .seconds(20)) { $0 }
        link.close()
        #expect(word?.0 == NodeID(2) && word?.1 == .left(Self.generation))
    }

    @Test func `a connection that ends without a word says nothing`() throws {
        let relayed = try Relayed()
        try relayed.hand(relayed.message(7))
        #expect(Farewell.wait(on: relayed.stream) == nil)
    }
}
