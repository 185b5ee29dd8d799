import Basis
import Foundation
import Glibc
import Host
import Raft
import ScenarioKit
import SecureLink
import Testing

@testable import Cluster
@testable import Daemon
@testable import Reports

/// A machine at the other end of a join: it says whatever a test wants, and proves its address or not.
private struct Newcomer {
    let token: JoinToken
    let port = UInt16(QuietPort.take())
    let key: NodeKey

    init(_ token: String) throws {
        self.token = try JoinToken(token)
        self.key = try NodeKey.create()
    }

    func about(
        _ name: String, site: String = "osaka", address: String? = nil, role: NodeRole = .member
    ) -> JoiningNode {
        JoiningNode(name: name, site: site, address: address ?? "127.0.0.1:\(self.port)", role: role)
    }

    func ask(
        _ about: JoiningNode, request: String? = nil, provesAddress: Bool = true,
        level: FeatureLevel = Release.present.level
    ) throws -> JoinAnswer {
        let proof = try AddressProof(host: "127.0.0.1", port: self.port, acceptsLoopback: true)
        SystemThread.start("proof") { proof.serve() }
        defer { proof.close() }
        let context = try TLSContext.anonymousClient(
            certificateAuthorityFingerprint: self.token.certificateAuthorityFingerprint)
        let stream = try TLSStream.connect(
            host: self.token.host, port: self.token.port, context: context, timeout: .seconds(20))
        defer { stream.shutdown() }
        let question = JoinQuestion(
            secret: self.token.secret, request: try request ?? self.key.certificateRequest(nodeName: "osk-1"),
            about: about, proof: provesAddress ? proof.secret : [], level: level)
        try LinkFrames.write(question.encoded(in: Format.join.version), to: stream)
        var reader = LinkReader(stream)
        guard let frame = try reader.next() else { return .refused("the node closed the connection") }
        return try JoinAnswer(decoding: frame)
    }
}

/// A TCP connection on which nothing is ever said.
private final class QuietConnection {
    private let descriptor: Int32

    init?(port: UInt16) {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if connected != 0 { return nil }
    }

    deinit { close(self.descriptor) }
}

@Suite struct `One token lets one node in, and only a sound one (N2)` {
    private func founded(_ scratch: ScratchDirectory) async throws -> SmallDaemon {
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch))
        _ = try await daemon.view { $0.supervisor.isCaughtUp }
        return daemon
    }

    private func names(_ daemon: SmallDaemon) async throws -> [String] {
        try await daemon.view { _ in true }.supervisor.state.nodes.map(\.about.name)
    }

    private func reason(_ answer: JoinAnswer) -> String? {
        if case .refused(let reason) = answer { return reason }
        return nil
    }

    @Test func `what is unfit to be shown or used is refused before the log hears of it, and the token stays good`()
        async throws
    {
        let scratch = try ScratchDirectory()
        let daemon = try await self.founded(scratch)
        let newcomer = try Newcomer(try await daemon.backend.createToken().token)
        let unfit = [
            newcomer.about("../bad name 0\u{1B}[31m"), newcomer.about("osk-1", site: "osaka\nx"),
            newcomer.about("osk-1", address: "127.0.0.1"), newcomer.about("osk-1", address: "10.0.0.1:7400\u{7}"),
            newcomer.about(String(repeating: "a", count: 64)),
            newcomer.about("osk-1", address: daemon.file.address), newcomer.about("tok-1"),
        ]
        for about in unfit {
            let reason = try #require(self.reason(try newcomer.ask(about)))
            #expect(reason.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(reason)")
        }
        #expect(self.reason(try newcomer.ask(newcomer.about("osk-1"), request: "nonsense")) != nil)
        #expect(self.reason(try newcomer.ask(newcomer.about("osk-1"), provesAddress: false)) != nil)
        // Rule U2: a new cluster begins with all that its first node can do.
        let earlier = self.reason(try newcomer.ask(newcomer.about("osk-1"), level: .first))
        #expect(earlier?.contains("this cluster is at feature level \(Release.present.level)") == true)
        #expect(try await self.names(daemon) == ["tok-1"])
        guard case .welcome(let welcome) = try newcomer.ask(newcomer.about("osk-1")) else {
            Issue.record("the token was burnt")
            return
        }
        #expect(welcome.node == NodeID(2))
        #expect(self.reason(try newcomer.ask(newcomer.about("osk-2")))?.contains("the token was used") == true)
        #expect(try await self.names(daemon) == ["tok-1", "osk-1"])
    }

    @Test func `a member gets the key of the authority, so that it can let others in, and a witness does not`()
        async throws
    {
        let scratch = try ScratchDirectory()
        let daemon = try await self.founded(scratch)
        for (name, role) in [("osk-1", NodeRole.member), ("wit-1", .witness), ("far-1", .observer)] {
            let newcomer = try Newcomer(try await daemon.backend.createToken().token)
            guard case .welcome(let welcome) = try newcomer.ask(newcomer.about(name, role: role)) else {
                Issue.record("\(name) was kept out")
                return
            }
            #expect(welcome.authorityKey.isEmpty == (role != .member), "\(name)")
            guard role == .member else { continue }
            let authority = try CertificateAuthority(
                certificatePEM: welcome.authority, privateKeyPEM: welcome.authorityKey)
            #expect(authority.fingerprint == newcomer.token.certificateAuthorityFingerprint)
        }
    }

    @Test func `a token that was revoked lets nobody in, and the others do`() async throws {
        let scratch = try ScratchDirectory()
        let daemon = try await self.founded(scratch)
        let lost = try Newcomer(try await daemon.backend.createToken().token)
        let kept = try Newcomer(try await daemon.backend.createToken().token)
        let tokens = try await daemon.backend.tokens().tokens
        #expect(tokens.count == 2)
        let id = try #require(tokens.first?.id)
        #expect(try await daemon.backend.revokeToken(id).accepted)
        await #expect(throws: APIFailure.self) { _ = try await daemon.backend.revokeToken(id) }
        #expect(try await daemon.backend.tokens().tokens.map(\.id) == tokens.dropFirst().map(\.id))
        #expect(self.reason(try lost.ask(lost.about("osk-1"))) != nil)
        #expect(try await self.names(daemon) == ["tok-1"])
        guard case .welcome = try kept.ask(kept.about("osk-1")) else {
            Issue.record("the other token lets nobody in")
            return
        }
        #expect(try await daemon.backend.tokens().tokens.isEmpty)
    }

    @Test func `hundreds of connections that say nothing keep nobody from joining (N1)`() async throws {
        let scratch = try ScratchDirectory()
        let daemon = try await self.founded(scratch)
        let newcomer = try Newcomer(try await daemon.backend.createToken().token)
        let context = try TLSContext.anonymousClient(
            certificateAuthorityFingerprint: newcomer.token.certificateAuthorityFingerprint)
        let place = try #require(HostPort(daemon.file.address))
        let silent = (0..<200).compactMap { _ in QuietConnection(port: place.port) }
        let streams = try (0..<20).map { _ in
            try TLSStream.connect(host: place.host, port: place.port, context: context, timeout: .seconds(20))
        }
        guard case .welcome = try newcomer.ask(newcomer.about("osk-1")) else {
            Issue.record("the newcomer was kept out")
            return
        }
        #expect(silent.count == 200)
        for stream in streams { stream.shutdown() }
    }

    @Test func `a token that began to let a node in lets no other one in, across a restart too`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/tokens.json"
        let now = Tick.zero + .seconds(100)
        let secret = [UInt8](repeating: 0xA5, count: 16)
        let tokens = JoinTokens(path: path, bootID: "boot")
        try tokens.add(secret, until: now + .seconds(60), at: now)
        #expect(try tokens.claim(secret, for: "osk-1", at: now))
        try tokens.bind(secret, to: "osk-1")
        try tokens.giveBack(secret)
        for tokens in [tokens, JoinTokens(path: path, bootID: "boot")] {
            #expect(try !tokens.claim(secret, for: "osk-2", at: now))
            #expect(try tokens.claim(secret, for: "osk-1", at: now))
            try tokens.giveBack(secret)
        }
        try tokens.bind(secret, to: nil)
        #expect(try tokens.claim(secret, for: "osk-2", at: now))
    }

    @Test func `a slip in the address burns no name: a node that was never up joins again, under another number`()
        async throws
    {
        let scratch = try ScratchDirectory()
        let daemon = try await self.founded(scratch)
        let first = try Newcomer(try await daemon.backend.createToken().token)
        _ = try first.ask(first.about("osk-1"))
        let second = try Newcomer(try await daemon.backend.createToken().token)
        guard case .welcome(let welcome) = try second.ask(second.about("osk-1", site: "kobe")) else {
            Issue.record("the name is burnt")
            return
        }
        #expect(welcome.node == NodeID(3))
        let view = try await daemon.view { _ in true }
        #expect(view.supervisor.state.nodes.map(\.about.site) == ["tokyo", "kobe"])
        _ = try await daemon.view { $0.supervisor.consensus.membership.learners == [NodeID(3)] }
    }

    @Test(arguments: [
        "localhost:7400", "0.0.0.0:7400", "[::]:7400", "127.0.0.1:7400", "192.0.2.1:7400", "no-such-name.invalid:7400",
        "10.0.0.1", "10.0.0.1:0",
    ])
    func `an address at which nobody else finds this machine is refused, and nothing is made`(address: String) throws {
        let scratch = try ScratchDirectory()
        let directory = scratch.path + "/state"
        #expect(throws: (any Error).self) {
            try Founding.initialize(
                NodeInitOptions(
                    cluster: "prod", name: "tok-1", site: "tokyo", address: address, role: .member,
                    directory: directory))
        }
        #expect(!FileManager.default.fileExists(atPath: directory))
    }
}
