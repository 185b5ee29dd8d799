import Basis
import Foundation
import Raft
import SecureLink

/// The side of a join that admits: on the node that ran `init`, which keeps the authority's key.
final class JoinServer: Sendable {
    /// How long a token is good for.
    static let validity = Span.seconds(3600)
    private static let answerTime = Span.seconds(15)

    private let paths: NodePaths
    private let file: NodeFile
    private let log: DriverLog
    private let queue: WaitingLock<[DaemonLoop.Item]>
    private let tokens: JoinTokens

    init(
        paths: NodePaths, file: NodeFile, bootID: String, queue: WaitingLock<[DaemonLoop.Item]>, log: DriverLog
    ) {
        self.tokens = JoinTokens(path: paths.joinTokens, bootID: bootID)
        self.paths = paths
        self.file = file
        self.queue = queue
        self.log = log
    }

    /// Whether this node can issue tokens and certificates.
    var keepsAuthority: Bool { FileManager.default.fileExists(atPath: self.paths.authorityKey) }

    /// A fresh token; a restart of the daemon does not void it, a reboot does.
    func createToken() throws -> JoinToken {
        guard let place = HostPort(self.file.address) else {
            throw DriverError.file(
                path: self.paths.nodeFile, reason: "its address is not HOST:PORT", remedy: "correct it")
        }
        let authority = try PEMFile.read(self.paths.authority)
        let token = try JoinToken(
            host: place.host, port: place.port,
            certificateAuthorityFingerprint: try CertificateAuthority.fingerprint(ofPEM: authority))
        let now = MachineClock.now
        try self.tokens.add(token.secret, until: now + Self.validity, at: now)
        return token
    }

    /// Serves one client without a certificate, on its own thread, whose time is limited by the transport: `settle` asks
    /// it for more once a good token was shown, and is false when the client was shut out meanwhile.
    func serve(_ stream: TLSStream, settle: @Sendable () -> Bool) {
        var reader = LinkReader(stream, limit: LinkFrames.joinBytesMaximum)
        guard let frame = try? reader.next() else { return }
        guard let question = try? JoinQuestion(decoding: frame) else {
            self.answer(.refused("the request cannot be read; use the same release on every node"), stream)
            return
        }
        let answer = self.admit(question, settle)
        if case .refused(let reason) = answer {
            self.log.warning("\(question.about.name) at \(stream.peerAddress) may not join: \(reason)")
        }
        self.answer(answer, stream)
        // Until the client closes: a shutdown at once could overtake the answer.
        _ = try? reader.next()
    }

    private func answer(_ answer: JoinAnswer, _ stream: TLSStream) {
        try? LinkFrames.write(answer.encoded, to: stream)
    }

    private func admit(_ question: JoinQuestion, _ settle: () -> Bool) -> JoinAnswer {
        do {
            guard try self.tokens.claim(question.secret, at: MachineClock.now) else {
                return .refused(
                    "the token was used, is more than an hour old, or was made before this machine was rebooted; "
                        + "get a new one with `holdfast token`")
            }
            guard settle() else {
                try self.tokens.release(question.secret)
                return .refused("the connection was given up; try again")
            }
            let answer = self.issue(question)
            // Void on disk before the answer leaves, or a crash would let it count twice.
            if case .welcome = answer {
                try self.tokens.use(question.secret)
            } else {
                try self.tokens.release(question.secret)
            }
            return answer
        } catch {
            return .refused("the token cannot be looked up or voided: \(error)")
        }
    }

    private func issue(_ question: JoinQuestion) -> JoinAnswer {
        guard HostPort(question.about.address) != nil else {
            return .refused("its address \(question.about.address) is not HOST:PORT")
        }
        do {
            let authority = try CertificateAuthority.load(
                certificatePath: self.paths.authority, keyPath: self.paths.authorityKey)
            switch self.propose(.addNode(question.about)) {
            case .applied(.accepted, _): break
            case .applied(.refused(let reason), _): return .refused(reason)
            case .handedOn, .noQuorum, nil:
                return .refused("no majority of voters answers, so nobody can join now; see `holdfast status`")
            }
            guard let state = self.state(), let record = state.node(named: question.about.name) else {
                return .refused("it was admitted, but this node cannot tell its number yet; try again")
            }
            let certificate = try authority.issue(
                nodeName: record.about.name, node: record.id, clusterID: self.file.clusterID,
                request: question.request)
            self.log.info("\(record.about.name) joined as \(record.id)")
            return .welcome(
                JoinAnswer.Welcome(
                    cluster: state.clusterName, clusterID: self.file.clusterID, node: record.id,
                    authority: authority.certificatePEM, certificate: certificate,
                    peers: state.nodes.filter { $0.id != record.id }.map {
                        PeerSpec(node: $0.id, name: $0.about.name, address: $0.about.address)
                    }))
        } catch {
            return .refused("\(error)")
        }
    }

    private func propose(_ command: Command) -> ClientReply? {
        let box = WaitingLock<ClientReply?>(nil)
        self.queue.change { $0.append(.request(.propose(command)) { reply in box.change { $0 = reply } }) }
        return box.wait(atMost: Self.answerTime) { $0 }
    }

    private func state() -> ClusterState? {
        let box = WaitingLock<ClusterState?>(nil)
        self.queue.change { $0.append(.inspect { view in box.change { $0 = view.supervisor.state } }) }
        return box.wait(atMost: .seconds(2)) { $0 }
    }
}
