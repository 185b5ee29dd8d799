import Basis
import Cluster
import FoundationEssentials
import Host
import Raft
import RaftStorage
import Reports
import SecureLink

/// `holdfast init` and `holdfast join`: how a directory becomes a node. (Rule B1)
package enum Founding {
    private static let joinTimeout = Span.seconds(20)

    /// Makes the directory the first node of a new cluster. `node.json` is written last: without it nothing counts.
    package static func initialize(_ options: NodeInitOptions, acceptsLoopback: Bool = false) throws {
        guard options.role == .member else {
            throw DriverError.argument(
                name: "--role", value: options.role.rawValue, reason: "the first node must be able to run services",
                remedy: "found the cluster on a member, then join the witness")
        }
        let paths = NodePaths(directory: options.directory, run: "")
        try NodeFile.requireFresh(paths)
        let (address, proof) = try self.ownAddress(options.address, acceptsLoopback: acceptsLoopback)
        proof.close()
        try paths.create()
        let clusterNumber = try self.randomNumber()
        let clusterID = clusterNumber.hexadecimal(digits: 16)
        let node = NodeID(1)
        try self.writeIdentity(paths, cluster: options.cluster, clusterID: clusterID, node: node, name: options.name)
        try self.writeFirstEntries(
            paths, clusterNumber, cluster: options.cluster, clusterID: clusterID,
            JoiningNode(name: options.name, site: options.site, address: address, role: .member))
        try NodeFile(
            cluster: options.cluster, clusterID: clusterID, node: node.rawValue, name: options.name,
            site: options.site, address: address, role: options.role, peers: []
        ).write(paths)
    }

    /// A new authority, and the first certificate that it issues.
    static func writeIdentity(
        _ paths: NodePaths, cluster: String, clusterID: String, node: NodeID, name: String
    ) throws {
        let authority = try CertificateAuthority.create(clusterName: cluster)
        let key = try NodeKey.create()
        let certificate = try authority.issue(
            nodeName: name, node: node, clusterID: clusterID, request: try key.certificateRequest(nodeName: name),
            valid: CertificateLife.validity(
                at: MachineClock.wallMilliseconds / 1000, lifeSeconds: CertificateLife.standardSeconds))
        try authority.save(certificatePath: paths.authority, keyPath: paths.authorityKey)
        try key.save(to: paths.key)
        try PEMFile.write(certificate, to: paths.certificate, isSecret: false)
    }

    /// The address in its usual form, and a listener there: the proof that it is this machine's. (Rule N2)
    static func ownAddress(_ text: String, acceptsLoopback: Bool) throws -> (String, AddressProof) {
        let place = try HostPort.argument("--address", text).canonical
        do {
            return (
                place.text, try AddressProof(host: place.host, port: place.port, acceptsLoopback: acceptsLoopback)
            )
        } catch {
            throw APIFailure(.refused, "--address \(text): \(error)", remedy: "nothing was changed")
        }
    }

    /// The log of a new cluster: who votes, and what the cluster is.
    private static func writeFirstEntries(
        _ paths: NodePaths, _ clusterNumber: UInt64, cluster: String, clusterID: String, _ founder: JoiningNode
    ) throws {
        let node = NodeID(1)
        let (store, _) = try LogStore.open(
            directory: paths.log, on: RealDisk(), identity: LogIdentity(cluster: clusterID, node: node),
            draw: try self.startDraw())
        defer { store.close() }
        // A cluster begins with all that its first node can do. (Rule U1)
        let levels = (FeatureLevel.first.rawValue + 1)..<(Release.present.level.rawValue + 1)
        let commands: [Command] =
            [.bootstrap(clusterID: clusterNumber, clusterName: cluster, node: founder)]
            + levels.map { .raise(FeatureLevel($0), counting: [node]) }
        let term = Term(1)
        let entries = commands.enumerated().map { place, command in
            let entry = LogCommand(
                origin: node, nonce: 0, sequence: 0, clusterMilliseconds: 0,
                wallMilliseconds: MachineClock.wallMilliseconds, command: command)
            return Entry(
                mark: LogMark(term: term, index: LogIndex(UInt64(place) + 2)), payload: .command(entry.encoded))
        }
        try store.persist(
            PersistRequest(
                sequence: 1,
                entries: [
                    Entry(
                        mark: LogMark(term: term, index: LogIndex(1)),
                        payload: .membership(Membership(voters: [node])))
                ] + entries,
                hardState: HardState(term: term, votedFor: node, commit: LogIndex(UInt64(entries.count) + 1))))
    }

    /// Asks a node of a cluster to take this one in.
    package static func join(_ options: NodeJoinOptions, acceptsLoopback: Bool = false) throws {
        let token = try JoinToken(options.token)
        let paths = NodePaths(directory: options.directory, run: "")
        try NodeFile.requireFresh(paths)
        let (address, proof) = try self.ownAddress(options.address, acceptsLoopback: acceptsLoopback)
        SystemThread.start("proof") { proof.serve() }
        defer { proof.close() }
        try paths.create()
        let key = try NodeKey.create()
        let question = JoinQuestion(
            secret: token.secret, request: try key.certificateRequest(nodeName: options.name),
            about: JoiningNode(
                name: options.name, site: options.site, address: address,
                role: NodeRole(options.role)),
            proof: proof.secret, isReplacement: options.isReplacement)
        let welcome: JoinAnswer.Welcome
        do {
            welcome = try self.ask(question, token)
        } catch {
            paths.removeEmpty()
            throw error
        }
        let isNamed = CertificateAuthority.certificates(in: welcome.authority).contains { text in
            (try? CertificateAuthority.fingerprint(ofPEM: text)) == token.certificateAuthorityFingerprint
        }
        guard isNamed else {
            throw DriverError.joinFailed(
                address: "\(token.host):\(token.port)", reason: "it sent another authority than the token names",
                remedy: "get a new token from a node that you trust")
        }
        try key.save(to: paths.key)
        try PEMFile.write(welcome.certificate, to: paths.certificate, isSecret: false)
        try PEMFile.write(welcome.authority, to: paths.authority, isSecret: false)
        // Every member can let others in, so that the loss of none is the loss of that.
        if !welcome.authorityKey.isEmpty {
            try PEMFile.write(welcome.authorityKey, to: paths.authorityKey, isSecret: true)
        }
        try NodeFile(
            cluster: welcome.cluster, clusterID: welcome.clusterID, node: welcome.node.rawValue, name: options.name,
            site: options.site, address: address, role: options.role,
            peers: welcome.peers.map { NodeFile.Peer(node: $0.node.rawValue, name: $0.name, address: $0.address) }
        ).write(paths)
    }

    /// Changes where the daemon of this machine listens: for a machine that has moved, whose daemon cannot listen where the cluster
    /// knows it. The daemon tells the cluster. (Rule J4)
    package static func listen(_ options: ListenOptions, acceptsLoopback: Bool = false) throws -> String {
        let paths = NodePaths(directory: options.directory, run: options.runDirectory)
        var file = try NodeFile.read(paths)
        if FileManager.default.fileExists(atPath: paths.socket) {
            throw APIFailure(
                .refused, "the daemon runs (\(paths.socket) is there)",
                remedy: "use `holdfast node set \(file.name) --address HOST:PORT`, or stop the daemon first")
        }
        let (address, proof) = try self.ownAddress(options.address, acceptsLoopback: acceptsLoopback)
        proof.close()
        file.address = address
        file.announces = true
        try file.write(paths)
        return address
    }

    private static func ask(_ question: JoinQuestion, _ token: JoinToken) throws -> JoinAnswer.Welcome {
        let address = "\(token.host):\(token.port)"
        let context = try TLSContext.anonymousClient(
            certificateAuthorityFingerprint: token.certificateAuthorityFingerprint, speaking: Format.envelope.version)
        let answer: JoinAnswer
        do {
            let stream = try TLSStream.connect(
                host: token.host, port: token.port, context: context, timeout: .seconds(5))
            defer { stream.shutdown() }
            SystemThread.start("join limit") {
                _ = Locked(false).wait(atMost: Self.joinTimeout) { _ in Bool?.none }
                stream.shutdown()
            }
            // Who reads the present messages reads the present question; a build from before reads the one before.
            let isPresent = stream.agreedVersion > Format.envelope.oldest
            try LinkFrames.write(
                question.encoded(in: isPresent ? Format.join.version : Format.join.oldest), to: stream)
            var reader = LinkReader(stream)
            guard let frame = try reader.next() else {
                throw DriverError.joinFailed(
                    address: address, reason: "the node closed the connection", remedy: "see the log of its daemon")
            }
            answer = try JoinAnswer(decoding: frame)
        } catch let error as DriverError {
            throw error
        } catch {
            throw DriverError.joinFailed(
                address: address, reason: "\(error)",
                remedy: "check that the daemon runs there and that this machine can reach it")
        }
        switch answer {
        case .welcome(let welcome): return welcome
        case .refused(let reason):
            throw APIFailure(
                .refused, "\(address) refused to take \(question.about.name) in: \(reason)",
                remedy: "nothing was changed on this machine")
        }
    }

    static func randomNumber() throws(SecureLinkError) -> UInt64 {
        let number = try SecureRandom.bytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return number == 0 ? 1 : number
    }

    /// What makes this start of a log unlike any other. (Rule E2)
    ///
    /// The start that founds a log names no boot: it is over before anybody hears of it.
    static func startDraw(bootID: String = "") throws(SecureLinkError) -> StartDraw {
        StartDraw(
            directory: DirectoryID(high: try self.randomNumber(), low: try self.randomNumber()),
            random: try self.randomNumber(), bootID: bootID)
    }
}
