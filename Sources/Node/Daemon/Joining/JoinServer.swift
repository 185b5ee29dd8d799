import Basis
import Cluster
import FoundationEssentials
import Host
import SecureLink

/// The side of a join that admits: on any member: each keeps the authority's key.
final class JoinServer: Sendable {
    /// How long a token is good for.
    static let validity = Span.seconds(3600)
    private static let answerTime = Span.seconds(12)
    private static let reachTime = Span.seconds(3)

    private let paths: NodePaths
    private let file: NodeFile
    private let log: DriverLog
    private let queue: LoopQueue
    private let tokens: JoinTokens
    private let desk: CertificateDesk

    init(
        paths: NodePaths, file: NodeFile, bootID: String, queue: LoopQueue, log: DriverLog, desk: CertificateDesk
    ) {
        self.desk = desk
        self.tokens = JoinTokens(path: paths.joinTokens, bootID: bootID)
        self.paths = paths
        self.file = file
        self.queue = queue
        self.log = log
    }

    /// Whether this node can issue tokens and certificates.
    var keepsAuthority: Bool { self.desk.keepsAuthority }

    /// A fresh token; a restart of the daemon does not void it, a reboot does.
    func createToken() throws -> JoinToken {
        guard let place = HostPort(self.file.address) else {
            throw DriverError.file(
                path: self.paths.nodeFile, reason: "its address is not HOST:PORT", remedy: "correct it")
        }
        // The one by which this node can be recognised, until its certificate is of another one.
        let own = try self.desk.present(Authorities())
        let token = try JoinToken(
            host: place.host, port: place.port,
            certificateAuthorityFingerprint: own.authority)
        let now = MachineClock.now
        try self.tokens.add(token.secret, until: now + Self.validity, at: now)
        return token
    }

    /// The tokens that are still good.
    func listTokens() throws -> [JoinTokens.Listed] { try self.tokens.list(at: MachineClock.now) }

    /// Voids a token; false when there is no such one.
    func revokeToken(_ id: String) throws -> Bool { try self.tokens.revoke(id) }

    /// Serves one client without a certificate, on its own thread, whose time is limited by the transport: `settle` asks
    /// it for more once a good token was shown, and is false when the client was shut out meanwhile.
    func serve(_ stream: TLSStream, settle: @Sendable () -> Bool) {
        var reader = LinkReader(stream, limit: LinkFrames.joinBytesMaximum)
        guard let frame = try? reader.next() else { return }
        let question: JoinQuestion
        do throws(CodecError) {
            question = try JoinQuestion(decoding: frame)
        } catch {
            self.answer(.refused("the request cannot be read: \(error); use the same release on every node"), stream)
            return
        }
        let answer = self.admit(question, settle)
        if case .refused(let reason) = answer {
            let name = question.about.problem == nil ? question.about.name : "a machine"
            self.log.warning("\(name) at \(stream.peerHost) may not join: \(reason)")
        }
        self.answer(answer, stream)
        // Until the client closes: a shutdown at once could overtake the answer.
        _ = try? reader.next()
    }

    private func answer(_ answer: JoinAnswer, _ stream: TLSStream) {
        try? LinkFrames.write(answer.encoded, to: stream)
    }

    private func admit(_ question: JoinQuestion, _ settle: () -> Bool) -> JoinAnswer {
        if let problem = question.about.problem { return .refused(problem) }
        let name = question.about.name
        do {
            guard try self.tokens.claim(question.secret, for: name, at: MachineClock.now) else {
                return .refused(
                    "the token was used (for one node it is good, and that one may try again under its name), is more "
                        + "than an hour old, or was made before this machine was rebooted; get a new one with "
                        + "`holdfast token`")
            }
            guard settle() else {
                try self.tokens.giveBack(question.secret)
                return .refused("the connection was given up; try again")
            }
            let answer = self.issue(question)
            // Void on disk before the answer leaves, or a crash would let it count twice.
            if case .welcome = answer {
                try self.tokens.use(question.secret)
            } else {
                try self.tokens.giveBack(question.secret)
            }
            return answer
        } catch {
            return .refused("the token cannot be looked up or voided: \(error)")
        }
    }

    /// Rule N2: everything that can be wrong is looked at, and the certificate signed on trial, before the log hears of
    /// the node. From then on the token is good for this node alone, whatever becomes of the answer.
    private func issue(_ question: JoinQuestion) -> JoinAnswer {
        let about = question.about
        do {
            guard let place = HostPort(about.address), place.canonical.text == about.address else {
                return .refused("its address is not HOST:PORT in its usual form")
            }
            guard let before = self.state() else { return .refused("this node is busy; try again") }
            if let objection = before.objection(toJoiningAt: question.level) { return .refused(objection) }
            let command: Command
            switch Self.command(for: question, in: before) {
            case .success(let found): command = found
            case .failure(let objection): return .refused(objection.description)
            }
            func sign(_ node: NodeID) throws -> String {
                // Where the others have not said yet what time it is, this machine's clock has to do: it is renewed by theirs.
                let situation = self.desk.situation()
                let seconds = situation?.seconds ?? MachineClock.wallMilliseconds / 1000
                return try self.desk.issue(
                    about.name, node, request: question.request, seconds: seconds, situation?.authorities.wanted)
            }
            _ = try sign(self.file.id)
            if let reason = self.whyUnreachable(place, question.proof) { return .refused(reason) }
            try self.tokens.bind(question.secret, to: about.name)
            if try self.tokens.isRevoked(question.secret) { return .refused("the token was revoked") }
            switch self.propose(command) {
            case .applied(.accepted, _): break
            case .applied(.refused(let refusal), _):
                try self.tokens.bind(question.secret, to: nil)
                return .refused(refusal.description)
            case .handedOn, .gathered, .inspected, .shuttingDown, .readable, .surveyed, .noQuorum, nil:
                return .refused("no majority of voters answers, so nobody can join now; see `holdfast status`")
            }
            guard let state = self.state(), let record = state.node(named: about.name), record.about == about else {
                return .refused("it was admitted, but this node cannot tell its number yet; try again")
            }
            let certificate = try sign(record.id)
            self.log.info("\(record.about.name) joined as \(record.id)")
            return .welcome(
                JoinAnswer.Welcome(
                    cluster: state.clusterName, clusterID: self.file.clusterID, node: record.id,
                    authority: try PEMFile.read(self.paths.authority),
                    authorityKey: about.role == .member
                        ? self.desk.files.authority(state.authorities.wanted)?.privateKeyPEM ?? "" : "",
                    certificate: certificate,
                    peers: state.nodes.filter { $0.id != record.id }.map {
                        PeerSpec(node: $0.id, name: $0.about.name, address: $0.about.address)
                    }))
        } catch {
            return .refused("\(error)")
        }
    }

    /// What the log is asked for. A replacement that asks again, because the answer was lost, is a node already.
    private static func command(for question: JoinQuestion, in state: ClusterState) -> Result<Command, Refusal> {
        let about = question.about
        guard question.isReplacement, let record = state.node(named: about.name),
            record.about != about || record.standing != .never
        else {
            return state.objection(toJoining: about).map { .failure(.unfit($0)) } ?? .success(.addNode(about))
        }
        return state.objection(toReplacing: record.id, by: about).map { .failure($0) }
            ?? .success(.replaceNode(record.id, about))
    }

    /// Dials the address that the newcomer claims, where its `join` waits for that.
    private func whyUnreachable(_ place: HostPort, _ proof: [UInt8]) -> String? {
        do throws(SecureLinkError) {
            let isRight = try AddressProof.holds(
                host: place.host, port: place.port, secret: proof, timeout: Self.reachTime)
            return isRight
                ? nil : "at \(place.text) answers something else than the machine that wants to join; check the address"
        } catch {
            return "\(self.file.name) does not reach it: \(error)"
        }
    }

    private func propose(_ command: Command) -> ClientReply? {
        let box = Locked<ClientReply?>(nil)
        self.queue.change { $0.append(.request(.propose(command)) { reply in box.change { $0 = reply } }) }
        return box.wait(atMost: Self.answerTime) { $0 }
    }

    private func state() -> ClusterState? {
        let box = Locked<ClusterState?>(nil)
        self.queue.change { $0.append(.inspect { view in box.change { $0 = view.supervisor.state } }) }
        return box.wait(atMost: .seconds(2)) { $0 }
    }
}
