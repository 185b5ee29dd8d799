import Basis
import Cluster
import FoundationEssentials
import Host
import Raft
import SecureLink

/// Makes certificates with the authority's key, which every member keeps, and asks others for them where it is not.
final class CertificateDesk: Sendable {
    /// The cluster as far as certificates need it.
    struct Situation: Sendable {
        /// This node and the others.
        var nodes: [ClusterState.NodeRecord]
        /// What most nodes agree that the time is; nil where they do not.
        var seconds: UInt64?
        /// The log takes words about certificates, and there is a leader.
        var mayTell: Bool
    }

    private static let dialTime = Span.seconds(5)
    private static let lookTime = Span.seconds(2)

    let paths: NodePaths
    let file: NodeFile
    private let lifeSeconds: UInt64
    private let queue: LoopQueue
    private let log: DriverLog

    init(paths: NodePaths, file: NodeFile, lifeSeconds: UInt64, queue: LoopQueue, log: DriverLog) {
        self.paths = paths
        self.file = file
        self.lifeSeconds = lifeSeconds
        self.queue = queue
        self.log = log
    }

    /// Whether this node can make certificates.
    var keepsAuthority: Bool { FileManager.default.fileExists(atPath: self.paths.authorityKey) }

    /// The cluster as it is now; nil while the loop is held up.
    func situation() -> Situation? {
        let box = Locked<Situation?>(nil)
        self.queue.change { items in
            items.append(
                .inspect { view in
                    let supervisor = view.supervisor
                    let situation = Situation(
                        nodes: supervisor.state.nodes, seconds: CertificateClocks(view).agreedSeconds,
                        mayTell: supervisor.state.level >= Command.certificateLevel
                            && supervisor.consensus.leader != nil
                            && supervisor.isCaughtUp)
                    box.change { $0 = situation }
                })
        }
        return box.wait(atMost: Self.lookTime) { $0 }
    }

    // MARK: Giving

    /// A certificate for a node's request (PEM), by the time that most nodes agree on.
    func issue(_ name: String, _ node: NodeID, request: String, seconds: UInt64) throws(SecureLinkError) -> String {
        let authority = try CertificateAuthority.load(
            certificatePath: self.paths.authority, keyPath: self.paths.authorityKey)
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
            answer = self.answer(try CertificateQuestion(decoding: frame), peer)
        } catch {
            answer = .refused("the request cannot be read: \(error); use the same release on every node")
        }
        try? LinkFrames.write(answer.encoded, to: stream)
        // Until the asker closes: a shutdown at once could overtake the answer.
        _ = try? reader.next()
    }

    private func answer(_ question: CertificateQuestion, _ peer: NodeID) -> CertificateAnswer {
        guard let situation = self.situation(), let record = situation.nodes.first(where: { $0.id == peer }) else {
            return .refused("\(self.file.name) does not know \(peer)")
        }
        guard case .certificate(let request) = question else { return .refused("it is not known what is asked") }
        guard self.keepsAuthority else { return .refused("\(self.file.name) does not keep the authority's key") }
        guard let seconds = situation.seconds else {
            return .refused("\(self.file.name) does not hear enough nodes to tell the time")
        }
        do throws(SecureLinkError) {
            return .certificate(try self.issue(record.about.name, peer, request: request, seconds: seconds))
        } catch {
            return .refused("\(error)")
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
        if self.keepsAuthority {
            do {
                let text = try self.issue(self.file.name, self.file.id, request: request, seconds: seconds)
                return try self.take(text, key, seconds: seconds)
            } catch { failures.append("\(error)") }
        }
        for record in situation.nodes where record.id != self.file.id && record.about.role == .member {
            do {
                return try self.take(
                    try self.ask(record, .certificate(request: request)), key, seconds: seconds)
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
        case .certificate(let text): return text
        case .refused(let reason):
            throw DriverError.notCertified(address: place.text, reason: reason, remedy: "ask another member")
        }
    }

    /// Nothing takes the place of the present pair that the others would not let in.
    private func take(_ text: String, _ key: NodeKey, seconds: UInt64) throws {
        let certificate = try NodeCertificate(pem: text)
        let trusted = try CertificateAuthority.trusted(self.paths.authority)
        func flaw(_ reason: String) -> DriverError {
            .file(path: self.paths.renewed, reason: reason, remedy: "see the log of the member that signed it")
        }
        guard certificate.node == self.file.id, certificate.cluster == self.file.clusterID, certificate.belongs(to: key)
        else { throw flaw("what was signed is not for this node") }
        guard trusted.contains(where: { certificate.isSigned(by: $0) }) else {
            throw flaw("what was signed is not of an authority that is trusted")
        }
        guard !CertificateLife.isDue(certificate.validity, of: self.file.id, at: seconds) else {
            throw flaw("what was signed is to be renewed at once: a clock is wrong")
        }
        try self.paths.identity.replacePair(certificate: certificate.pem, key: key)
        self.log.info(
            "another certificate for \(self.file.name), until \(Validity.day(certificate.validity.until)); new connections use it"
        )
    }

    /// What the log is to know of the present pair.
    func present() throws -> CertificateRecord {
        let certificate = try NodeCertificate.present(self.paths.identity)
        let trusted = try CertificateAuthority.trusted(self.paths.authority)
        let signer = trusted.first { certificate.isSigned(by: $0) }
        func fingerprint(_ text: String) throws(SecureLinkError) -> CertificateRecord.Fingerprint {
            try CertificateAuthority.fingerprint(ofPEM: text)
        }
        let kept = try? CertificateAuthority.load(
            certificatePath: self.paths.authority, keyPath: self.paths.authorityKey)
        return CertificateRecord(
            fingerprint: certificate.fingerprint, authority: try signer.map(fingerprint) ?? [],
            validity: certificate.validity, trusts: try trusted.map(fingerprint),
            keys: kept.map { [$0.fingerprint] } ?? [])
    }
}
