import Basis
import Cluster
import FoundationEssentials
import Glibc
import Host
import Raft
import Reports
import SecureLink

/// Makes certificates with the authority's key, which every member keeps, and asks others for them where it is not.
final class CertificateDesk: Sendable {
    /// The cluster as far as certificates need it.
    struct Situation: Sendable {
        /// This node and the others.
        var nodes: [ClusterState.NodeRecord]
        /// What the log says of authorities; nothing while this node is not caught up.
        var authorities: Authorities
        /// What most nodes agree that the time is; nil where they do not.
        var seconds: UInt64?
        /// The log takes words about certificates, and there is a leader.
        var mayTell: Bool
        /// How often an authority was begun or done with when this was asked for.
        var makings: UInt64
    }

    private static let dialTime = Span.seconds(5)
    private static let lookTime = Span.seconds(2)

    let paths: NodePaths
    let file: NodeFile
    private let lifeSeconds: UInt64
    let files: AuthorityFiles
    /// Authorities that the log may not have heard of yet.
    private let making = Locked(AuthorityMaking())
    private let queue: LoopQueue
    private let log: DriverLog

    init(paths: NodePaths, file: NodeFile, lifeSeconds: UInt64, queue: LoopQueue, log: DriverLog) {
        self.files = AuthorityFiles(paths: paths)
        self.paths = paths
        self.file = file
        self.lifeSeconds = lifeSeconds
        self.queue = queue
        self.log = log
    }

    /// Whether this node has a key to make certificates with.
    var keepsAuthority: Bool { FileManager.default.fileExists(atPath: self.paths.authorityKey) }

    /// The cluster as it is now; nil while the loop is held up.
    func situation() -> Situation? {
        let box = Locked<Situation?>(nil)
        let makings = self.making.withLock { $0.count }
        self.queue.change { items in
            items.append(
                .inspect { view in
                    let supervisor = view.supervisor
                    let mayTell =
                        supervisor.state.level >= Command.certificateLevel && supervisor.consensus.leader != nil
                        && supervisor.isCaughtUp
                    // What a daemon has applied that is not caught up may be long over: by that it would trust again what was
                    // dropped, and no longer what the others have. (Rule I2)
                    let situation = Situation(
                        nodes: supervisor.state.nodes,
                        authorities: mayTell ? supervisor.state.authorities : Authorities(),
                        seconds: CertificateClocks(view).agreedSeconds, mayTell: mayTell, makings: makings)
                    box.change { $0 = situation }
                })
        }
        return box.wait(atMost: Self.lookTime) { $0 }
    }

    // MARK: Giving

    /// A certificate for a node's request (PEM), by the time that most nodes agree on, of the authority that the log wants.
    func issue(
        _ name: String, _ node: NodeID, request: String, seconds: UInt64, _ wanted: Authorities.Authority?
    ) throws -> String {
        guard let authority = self.files.authority(wanted) else {
            throw DriverError.file(
                path: self.paths.authorityKey,
                reason: "the authority's key is not there, or is not of the authority that signs now",
                remedy: "ask another member")
        }
        return try authority.issue(
            nodeName: name, node: node, clusterID: self.file.clusterID, request: request,
            valid: CertificateLife.validity(at: seconds, lifeSeconds: self.lifeSeconds))
    }

    /// Serves a node of the cluster that has come about certificates, on its own thread: it gets what is its own.
    func serve(_ stream: TLSStream, _ peer: NodeID) {
        var reader = LinkReader(stream, limit: LinkFrames.joinBytesMaximum)
        guard let frame = try? reader.next() else { return }
        let answer: CertificateAnswer
        do throws(CodecError) {
            answer = self.answer(try CertificateQuestion(decoding: frame), peer, showing: stream.peerFingerprint)
        } catch {
            answer = .refused("the request cannot be read: \(error); use the same release on every node")
        }
        try? LinkFrames.write(answer.encoded, to: stream)
        // Until the asker closes: a shutdown at once could overtake the answer.
        _ = try? reader.next()
    }

    private func answer(
        _ question: CertificateQuestion, _ peer: NodeID, showing fingerprint: CertificateRecord.Fingerprint?
    ) -> CertificateAnswer {
        guard let situation = self.situation(), let record = situation.nodes.first(where: { $0.id == peer }) else {
            return .refused("\(self.file.name) does not know \(peer)")
        }
        // A pair that was copied before the node renewed its own is good for nothing here.
        if let known = record.certificate, known.fingerprint != fingerprint {
            return .refused("\(record.about.name) shows another certificate than it says that it has")
        }
        switch question {
        case .certificate(let request):
            guard self.keepsAuthority else { return .refused("\(self.file.name) does not keep the authority's key") }
            guard let seconds = situation.seconds else {
                return .refused("\(self.file.name) does not hear enough nodes to tell the time")
            }
            do {
                return .certificate(
                    try self.issue(
                        record.about.name, peer, request: request, seconds: seconds, situation.authorities.wanted))
            } catch {
                return .refused("\(error)")
            }
        case .authorityKey(let fingerprint):
            // By the role that the log has: a witness, or an observer, lets nobody in.
            guard record.about.role == .member, !record.isRetiring else {
                return .refused("\(record.about.name) is no member, and only those keep the authority's key")
            }
            let known = situation.authorities.trusted.first { $0.fingerprint == fingerprint }
            guard let authority = self.files.authority(known), authority.fingerprint == fingerprint else {
                return .refused("\(self.file.name) does not keep that key")
            }
            return .authorityKey(authority.privateKeyPEM)
        }
    }

    // MARK: Getting

    /// Gets another certificate for this node, with a new key, and puts both in the place of the present ones. Takes some seconds.
    /// Throws where nobody gives one that is of use; the present pair stays then.
    func renew(_ situation: Situation) throws {
        guard let seconds = situation.seconds else {
            throw DriverError.file(
                path: self.paths.renewed, reason: "too few nodes are heard to tell the time", remedy: "start the others"
            )
        }
        let key = try NodeKey.create()
        let request = try key.certificateRequest(nodeName: self.file.name)
        var failures: [String] = []
        let wanted = situation.authorities.wanted
        if self.files.authority(wanted) != nil {
            do {
                let text = try self.issue(self.file.name, self.file.id, request: request, seconds: seconds, wanted)
                return try self.take(text, key, seconds: seconds, wanted)
            } catch { failures.append("\(error)") }
        }
        for record in situation.nodes where record.id != self.file.id && record.about.role == .member {
            do {
                return try self.take(
                    try self.ask(record, .certificate(request: request)), key, seconds: seconds, wanted)
            } catch { failures.append("\(record.about.name): \(error)") }
        }
        throw DriverError.file(
            path: self.paths.renewed,
            reason: failures.isEmpty ? "no member is known that could sign it" : failures.joined(separator: "; "),
            remedy: "see that a member which keeps tls/ca.key is up")
    }

    private func ask(_ record: ClusterState.NodeRecord, _ question: CertificateQuestion) throws -> String {
        guard let place = HostPort(record.about.address) else {
            throw DriverError.argument(
                name: record.about.name, value: record.about.address, reason: "this is not HOST:PORT",
                remedy: "correct it")
        }
        let stream = try TLSStream.connect(
            host: place.host, port: place.port, context: try .aboutCertificates(identity: self.paths.identity),
            timeout: Self.dialTime)
        defer { stream.shutdown() }
        guard stream.peerNode == record.id, stream.peerCluster == self.file.clusterID else {
            throw DriverError.notCertified(
                address: place.text, reason: "another node answers there", remedy: "check the nodes' addresses")
        }
        guard stream.isAboutCertificates else {
            throw DriverError.notCertified(
                address: place.text, reason: "its release renews no certificates", remedy: "upgrade it")
        }
        SystemThread.start("asking limit") {
            _ = Locked(false).wait(atMost: Self.dialTime) { _ in Bool?.none }
            stream.shutdown()
        }
        try LinkFrames.write(question.encoded, to: stream)
        var reader = LinkReader(stream, limit: LinkFrames.joinBytesMaximum)
        guard let frame = try reader.next() else {
            throw DriverError.notCertified(
                address: place.text, reason: "the node closed the connection", remedy: "see the log of its daemon")
        }
        switch try CertificateAnswer(decoding: frame) {
        case .certificate(let text), .authorityKey(let text): return text
        case .refused(let reason):
            throw DriverError.notCertified(address: place.text, reason: reason, remedy: "ask another member")
        }
    }

    /// Nothing takes the place of the present pair that the others would not let in.
    private func take(
        _ text: String, _ key: NodeKey, seconds: UInt64, _ wanted: Authorities.Authority?
    ) throws {
        let certificate = try NodeCertificate(pem: text)
        let trusted = try CertificateAuthority.trusted(self.paths.authority)
        func flaw(_ reason: String) -> DriverError {
            .file(path: self.paths.renewed, reason: reason, remedy: "see the log of the member that signed it")
        }
        guard certificate.node == self.file.id, certificate.cluster == self.file.clusterID, certificate.belongs(to: key)
        else { throw flaw("what was signed is not for this node") }
        guard trusted.contains(where: { certificate.isSigned(by: $0) }),
            wanted.map({ certificate.isSigned(by: $0.certificate) }) ?? true
        else {
            throw flaw("what was signed is not of the authority that certificates are to be of")
        }
        guard !CertificateLife.isDue(certificate.validity, of: self.file.id, at: seconds) else {
            throw flaw("what was signed is to be renewed at once: a clock is wrong")
        }
        try self.paths.identity.replacePair(certificate: certificate.pem, key: key)
        self.log.info(
            "another certificate for \(self.file.name), until \(Validity.day(certificate.validity.until)); new connections use it"
        )
    }

    /// What the log is to know of the present pair, and of the authorities' files.
    func present(_ authorities: Authorities) throws -> CertificateRecord {
        let certificate = try NodeCertificate.present(self.paths.identity)
        let trusted = try self.files.trusted()
        let signer = trusted.first { certificate.isSigned(by: $0) }
        func fingerprint(_ text: String) throws(SecureLinkError) -> CertificateRecord.Fingerprint {
            try CertificateAuthority.fingerprint(ofPEM: text)
        }
        let known = authorities.trusted.isEmpty ? [nil] : authorities.trusted.map(Optional.some)
        return CertificateRecord(
            fingerprint: certificate.fingerprint, authority: try signer.map(fingerprint) ?? [],
            validity: certificate.validity, trusts: try trusted.map(fingerprint),
            keys: known.compactMap { self.files.authority($0)?.fingerprint })
    }

    // MARK: Authorities (rule I2)

    /// Makes the files what the log says: what is trusted, and on a member the keys, which it asks other members for.
    func settleAuthorities(_ situation: Situation, fetches: Bool) throws {
        try self.files.trust(situation.authorities)
        let isMember = situation.nodes.first { $0.id == self.file.id }?.about.role == .member
        if isMember, fetches { try self.fetchKeys(situation) }
        // A key may have been made that the log had not heard of when it was looked at.
        if situation.mayTell, self.making.withLock({ $0.isQuiet(since: situation.makings) }) {
            try self.files.tidyKeys(situation.authorities)
        }
    }

    private func fetchKeys(_ situation: Situation) throws {
        var missing: [(certificate: String, isPresent: Bool)] = situation.authorities.trusted
            .filter { self.files.authority($0) == nil }.map { ($0.certificate, false) }
        if situation.authorities.trusted.isEmpty, self.files.authority(nil) == nil {
            missing = try self.files.trusted().prefix(1).map { ($0, true) }
        }
        for authority in missing {
            let fingerprint = try CertificateAuthority.fingerprint(ofPEM: authority.certificate)
            for record in situation.nodes where record.id != self.file.id && record.about.role == .member {
                guard let key = try? self.ask(record, .authorityKey(fingerprint)),
                    let found = try? CertificateAuthority(certificatePEM: authority.certificate, privateKeyPEM: key)
                else { continue }
                if authority.isPresent {
                    try PEMFile.write(found.privateKeyPEM, to: self.paths.authorityKey, isSecret: true)
                } else {
                    try self.files.keep(found)
                }
                self.log.info("this node keeps the key of the cluster's authority, from \(record.about.name)")
                break
            }
        }
    }

    /// Makes an authority to take the place of the present one; its key is durable here on return. `body` asks the log.
    func makeAuthority<Result>(
        _ authorities: Authorities, _ body: (Authorities.Change) async throws -> Result
    ) async throws -> Result {
        let present: Authorities.Authority
        if let known = authorities.present {
            present = known
        } else {
            let own = try NodeCertificate.present(self.paths.identity)
            guard let text = try self.files.trusted().first(where: { own.isSigned(by: $0) }) else {
                throw APIFailure(
                    .error, "the authority of this node's certificate is not in \(self.paths.authority)",
                    remedy: "give the order on another member")
            }
            present = Authorities.Authority(
                fingerprint: try CertificateAuthority.fingerprint(ofPEM: text), certificate: text)
        }
        let next = try CertificateAuthority.create(clusterName: self.file.cluster)
        guard self.making.change({ $0.begin() }) else {
            throw APIFailure(
                .conflict, "another authority is being made at this moment", remedy: "see `holdfast certificates`")
        }
        defer { self.making.change { $0.end() } }
        try self.files.keep(next)
        do {
            return try await body(
                .begin(
                    present: present,
                    next: Authorities.Authority(fingerprint: next.fingerprint, certificate: next.certificatePEM)))
        } catch let failure as APIFailure where failure.code != .noQuorum {
            // It was refused for certain; what may still be applied keeps its key.
            unlink(self.files.keyPath(next.fingerprint))
            throw failure
        }
    }
}
