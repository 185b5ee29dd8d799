import Basis
import Cluster
import Host
import SecureLink

/// Messages between daemons, over TLS with certificates of the cluster's own authority.
///
/// Each node keeps one outgoing connection to every peer and writes on it; what it receives comes on the connections
/// of the others. A client without a certificate may ask to join, and nothing else.
final class Transport: Sendable {
    /// What a received message leads to.
    struct Handlers: Sendable {
        /// A message, and the node that handed it over.
        var receive: @Sendable (Envelope, NodeID) -> Void
        /// A client without a certificate; the stream is its own until the handler returns. Until the handler calls
        /// the function it is given, the client has little time and may be pushed out by others.
        var join: @Sendable (TLSStream, @escaping @Sendable () -> Bool) -> Void
        /// A node of the cluster that has come about certificates; the stream is its own until the handler returns.
        var certificates: @Sendable (TLSStream, NodeID) -> Void
        /// Several machines say that they are this node; one, where the log knows that there are several; and the entry by which
        /// it was one machine, as far as was known here. (Rule E5)
        var twins: @Sendable (NodeID, [Twin], LogIndex) -> Void
    }

    /// A connection of another node to this one.
    struct Inbound {
        var node: NodeID
        var stream: TLSStream
        /// The boot of the machine at the other end, once it has said it.
        var bootID: String?
        /// A person said that the node is that machine; it was met before it had a certificate of its own. (Rule E5)
        var isOriginal = false
    }

    struct State {
        var links: [PeerLink] = []
        /// Who is in the cluster, and who has left.
        var roll = PeerRoll(peers: [])
        /// Listens where this node is reached besides, since it has moved. (Rule J4)
        var moved: Reception?
        var inbound: [Inbound] = []
        /// Which machines the other nodes are. (Rule E5)
        var twins = TwinWatch()
        /// Clients without a certificate.
        var applicants = Doorway(places: Transport.applicantsMaximum)
        var applications: [UInt64: TLSStream] = [:]
    }

    /// Clients without a certificate that have not shown a token yet. (Rule N1)
    private static let applicantsMaximum = 8
    /// How long each of them has to show one, and how long the rest of a join may take then.
    private static let applicationTime = Span.seconds(5)
    private static let joinTime = Span.seconds(20)
    /// Connections from one peer at a time.
    private static let inboundMaximum = 8
    /// As patient as who dials a machine that is slow.
    private static let handshakeTimeout = Span.seconds(6)
    private static let lookInterval = Span.milliseconds(50)

    private let node: NodeID
    private let cluster: String
    private let dialling: TLSContext
    private let seals: RelaySeals
    private let reception: Reception
    private let makeReception: @Sendable (HostPort) throws -> Reception
    private let parted: @Sendable (NodeID, Parting) -> Void
    private let log: DriverLog
    let state = Locked(State())

    /// Listens at once; nothing is accepted before `start`. `parted` is told who does not listen to this node, and
    /// why.
    init(
        _ file: NodeFile, identity: TLSIdentity, log: DriverLog,
        parted: @escaping @Sendable (NodeID, Parting) -> Void
    ) throws {
        self.parted = parted
        let place = try HostPort.argument("address", file.address)
        self.node = file.id
        self.cluster = file.clusterID
        self.dialling = try TLSContext(identity: identity, speaking: Format.envelope.version)
        self.seals = try RelaySeals(node: file.id, cluster: file.clusterID, identity: identity)
        self.log = log
        let context = try TLSContext(
            identity: identity, clientCertificateOptional: true, speaking: Format.envelope.version)
        let make = { @Sendable (place: HostPort) throws -> Reception in
            Reception(
                listener: try Listener(host: place.host, port: place.port), context: context,
                handshakeTimeout: Self.handshakeTimeout, budget: .ofThisProcess,
                spawn: { SystemThread.start("greeting", $0) }, warn: { log.warning($0) })
        }
        self.makeReception = make
        self.reception = try make(place)
    }

    /// Starts accepting and dialling.
    func start(_ handlers: Handlers) {
        SystemThread.start("accepting") { self.reception.run { self.greet($0, handlers) } }
        SystemThread.start("links", isPrompt: true) {
            let never = Locked(false)
            while true {
                for link in self.state.withLock({ $0.links }) { link.look(at: MachineClock.now) }
                for stream in self.lateApplications(at: MachineClock.now) { stream.shutdown() }
                _ = never.wait(atMost: Self.lookInterval) { _ in Bool?.none }
            }
        }
    }

    /// Listens at another place too, where this node is reached from now on; throws when it cannot. (Rule J4)
    func listen(at address: String, _ handlers: Handlers) throws {
        let reception = try self.makeReception(try HostPort.argument("address", address))
        reception.know(self.state.withLock { $0.roll.hosts })
        self.state.change { $0.moved = reception }
        SystemThread.start("accepting") { reception.run { self.greet($0, handlers) } }
    }

    /// Keeps links to the nodes of the cluster and to no others; who has left is shown out.
    func keep(_ roll: PeerRoll) {
        let peers = roll.peers
        let left = self.state.change { state -> [TLSStream] in
            state.settleTwins(roll)
            state.roll = roll
            return state.inbound.filter { roll.hasLeft($0.node, own: self.node) }.map(\.stream)
        }
        for stream in left {
            Farewell.send(roll.generation, to: stream)
            stream.shutdown()
        }
        self.showTwinsOut()
        let (fresh, gone) = self.state.change { state -> ([PeerLink], [PeerLink]) in
            let gone = state.links.filter { link in !peers.contains { $0.node == link.peer.node } }
            state.links.removeAll { link in gone.contains { $0 === link } }
            var fresh: [PeerLink] = []
            for peer in peers where peer.node != self.node {
                if let link = state.links.first(where: { $0.peer.node == peer.node }) {
                    link.update(peer)
                } else {
                    fresh.append(
                        PeerLink(
                            peer, context: self.dialling, cluster: self.cluster, log: self.log,
                            parted: self.parted))
                }
            }
            state.links += fresh
            return (fresh, gone)
        }
        for reception in [self.reception, self.state.withLock { $0.moved }] { reception?.know(roll.hosts) }
        for link in gone { link.close() }
        for link in fresh { link.start() }
    }

    /// Sends through a hop, or drops the message when there is no connection. Never blocks.
    func send(_ envelope: Envelope, to hop: NodeID) {
        guard let link = self.state.withLock({ $0.links.first { $0.peer.node == hop } }) else { return }
        var envelope = envelope
        if envelope.isRelayed, envelope.from == self.node {
            guard let sealed = self.seals.sealed(envelope) else { return }
            envelope = sealed
        }
        // What goes through a third node is in the version that every node reads.
        let version = envelope.isRelayed ? Format.envelope.oldest : link.version
        guard version >= envelope.message.firstVersion else { return }
        link.send(
            envelope.encoded(in: version), in: version, isPerishable: envelope.message.isPerishable,
            isUrgent: envelope.message.isAboutLeases)
    }

    private func greet(_ stream: TLSStream, _ handlers: Handlers) {
        guard let peer = stream.peerNode else { return self.hearApplicant(stream, handlers) }
        guard stream.peerCluster == self.cluster else {
            self.refuse(stream, "\(stream.peerName ?? "a node") belongs to another cluster")
            stream.shutdown()
            return
        }
        let roll = self.state.withLock { $0.roll }
        guard !roll.hasLeft(peer, own: self.node) else {
            self.refuse(stream, "\(stream.peerName ?? "a node") has left this cluster (J6)")
            Farewell.send(roll.generation, to: stream)
            stream.shutdown()
            return
        }
        if self.showOutRevoked(stream, peer) { return }
        if stream.isAboutCertificates {
            self.limit(stream)
            handlers.certificates(stream, peer)
            stream.shutdown()
            return
        }
        self.receive(stream, from: peer, handlers)
    }

    /// Who has come to ask something has little time.
    private func limit(_ stream: TLSStream) {
        SystemThread.start("asking limit") {
            _ = Locked(false).wait(atMost: Self.applicationTime) { _ in Bool?.none }
            stream.shutdown()
        }
    }

    /// Signs and checks what goes through third nodes with the files as they are now. It reads them, so not on the loop's thread.
    func renewSeals() { self.seals.renew() }

    // MARK: Clients without a certificate (rule N1)

    private func hearApplicant(_ stream: TLSStream, _ handlers: Handlers) {
        let now = MachineClock.now
        let (number, crowdedOut) = self.state.withLock { state -> (UInt64, TLSStream?) in
            let (number, shownOut) = state.applicants.enter(
                from: stream.peerHost, isKnown: false, until: now + Self.applicationTime)
            state.applications[number] = stream
            return (number, shownOut.flatMap { state.applications.removeValue(forKey: $0) })
        }
        if let crowdedOut {
            self.refuse(crowdedOut, "more clients than \(Self.applicantsMaximum) without a certificate or a token")
            crowdedOut.shutdown()
        }
        handlers.join(stream) {
            self.state.withLock { $0.applicants.settle(number, until: MachineClock.now + Self.joinTime) }
        }
        stream.shutdown()
        self.state.withLock { state in
            state.applicants.leave(number)
            state.applications[number] = nil
        }
    }

    private func lateApplications(at now: Tick) -> [TLSStream] {
        self.state.withLock { state in
            state.applicants.expire(at: now).compactMap { state.applications.removeValue(forKey: $0) }
        }
    }

    private func receive(_ stream: TLSStream, from peer: NodeID, _ handlers: Handlers) {
        // A peer that dials after a cut may finish several attempts and keeps one of them, so the newest is not the one
        // that counts. What it gave up without a word, keepalive ends.
        let surplus = self.state.change { state -> TLSStream? in
            state.inbound.append(Inbound(node: peer, stream: stream))
            let mine = state.inbound.filter { $0.node == peer }
            guard mine.count > Self.inboundMaximum, let oldest = mine.first else { return nil }
            state.inbound.removeAll { $0.stream === oldest.stream }
            return oldest.stream
        }
        surplus?.shutdown()
        // Only now: whoever has no certificate goes before nobody.
        SystemThread.goFirst()
        var reader = LinkReader(stream)
        while let frame = try? reader.next() {
            do throws(CodecError) {
                let envelope = try Envelope(decoding: frame)
                // A node speaks for itself; for another only when it relays. (Rule L16)
                guard envelope.from == peer || (envelope.isRelayed && envelope.to == self.node) else {
                    self.refuse(stream, "\(stream.peerName ?? "a node") speaks for \(envelope.from)")
                    break
                }
                if envelope.from != peer {
                    do throws(RelaySeals.Flaw) {
                        try self.seals.check(envelope)
                    } catch .late {
                        continue
                    } catch {
                        self.refuse(
                            stream,
                            "\(stream.peerName ?? "a node") passed on what \(envelope.from) did not sign")
                        break
                    }
                }
                guard self.isHeard(envelope, on: stream, from: peer, handlers) else { continue }
                handlers.receive(envelope, peer)
            } catch {
                self.refuse(stream, Self.complaint(error, stream.peerName ?? "a node"))
                break
            }
        }
        stream.shutdown()
        self.state.change { state in state.inbound.removeAll { $0.stream === stream } }
    }

    /// What is said of a peer whose messages cannot be read.
    static func complaint(_ error: CodecError, _ peer: String) -> String {
        if case .foreignVersion(let format, let found) = error {
            return "\(peer) speaks \(format.flaw(found)): run the same release on every node"
        }
        return "\(peer) sent something unreadable: \(error); is it another release?"
    }

    func refuse(_ stream: TLSStream, _ text: String) { self.reception.refuse(stream.peerHost, text) }
}

extension NodeMessage {
    /// Worthless once a newer one was sent.
    var isPerishable: Bool {
        switch self {
        case .ping, .renewal, .renewed, .notRenewed, .voterReport, .summary, .askStandings, .standings, .challenge,
            .echo:
            true
        case .raft, .forward, .readRequest, .readAnswer, .transferRequest, .inspect, .inspected, .recovery: false
        }
    }
}

extension PeerRoll {
    fileprivate var hosts: [String] { self.addresses.compactMap { HostPort($0)?.host } }
}
