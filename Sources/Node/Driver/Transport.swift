import Basis
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
        /// A client without a certificate; the stream is its own.
        var join: @Sendable (TLSStream) -> Void
    }

    private struct State {
        var links: [PeerLink] = []
        var inbound: [(node: NodeID, stream: TLSStream)] = []
        var handshakes = 0
        var refusals: [String] = []
    }

    private static let handshakesMaximum = 64
    /// Connections from one peer at a time.
    private static let inboundMaximum = 8
    private static let handshakeTimeout = Span.seconds(3)
    private static let lookInterval = Span.milliseconds(50)

    private let node: NodeID
    private let cluster: String
    private let dialling: TLSContext
    private let accepting: TLSContext
    private let listener: Listener
    private let log: DriverLog
    private let state = WaitingLock(State())

    /// Listens at once; nothing is accepted before `start`.
    init(_ file: NodeFile, identity: TLSIdentity, log: DriverLog) throws {
        let place = try HostPort.argument("address", file.address)
        self.node = file.id
        self.cluster = file.clusterID
        self.dialling = try TLSContext(identity: identity)
        self.accepting = try TLSContext(identity: identity, clientCertificateOptional: true)
        self.listener = try Listener(host: place.host, port: place.port)
        self.log = log
    }

    /// Starts accepting and dialling.
    func start(_ handlers: Handlers) {
        DriverThread.start("accepting") { self.acceptForever(handlers) }
        DriverThread.start("links") {
            let never = WaitingLock(false)
            while true {
                for link in self.state.withLock({ $0.links }) { link.look(at: MachineClock.now) }
                _ = never.wait(atMost: Self.lookInterval) { _ in Bool?.none }
            }
        }
    }

    /// Keeps links to these peers and to no others.
    func keep(_ peers: [PeerSpec]) {
        let (fresh, gone) = self.state.change { state -> ([PeerLink], [PeerLink]) in
            let gone = state.links.filter { link in !peers.contains { $0.node == link.peer.node } }
            state.links.removeAll { link in gone.contains { $0 === link } }
            var fresh: [PeerLink] = []
            for peer in peers where peer.node != self.node {
                if let link = state.links.first(where: { $0.peer.node == peer.node }) {
                    link.update(peer)
                } else {
                    fresh.append(PeerLink(peer, context: self.dialling, cluster: self.cluster, log: self.log))
                }
            }
            state.links += fresh
            return (fresh, gone)
        }
        for link in gone { link.close() }
        for link in fresh { link.start() }
    }

    /// Sends through a hop, or drops the message when there is no connection. Never blocks.
    func send(_ envelope: Envelope, to hop: NodeID) {
        guard let link = self.state.withLock({ $0.links.first { $0.peer.node == hop } }) else { return }
        link.send(envelope.encoded, isPerishable: envelope.message.isPerishable)
    }

    private func acceptForever(_ handlers: Handlers) {
        while true {
            do throws(SecureLinkError) {
                let socket = try self.listener.acceptRaw()
                DriverThread.start("greeting") { self.greet(socket, handlers) }
                // A flood of clients that never finish their handshake must not take every thread.
                _ = self.state.wait(atMost: Self.handshakeTimeout) {
                    $0.handshakes < Self.handshakesMaximum ? true : nil
                }
            } catch {
                if case .listenerClosed = error { return }
                self.log.error("no connection can be accepted: \(error)")
                _ = WaitingLock(false).wait(atMost: .milliseconds(200)) { _ in Bool?.none }
            }
        }
    }

    private func greet(_ socket: Int32, _ handlers: Handlers) {
        self.state.change { $0.handshakes += 1 }
        let greeted: TLSStream?
        do throws(SecureLinkError) {
            greeted = try TLSStream.handshake(
                accepted: socket, context: self.accepting, timeout: Self.handshakeTimeout)
        } catch {
            greeted = nil
            self.refuse("a client was refused: \(error)")
        }
        self.state.change { $0.handshakes -= 1 }
        guard let stream = greeted else { return }
        guard let peer = stream.peerNode else {
            handlers.join(stream)
            return
        }
        guard stream.peerCluster == self.cluster else {
            self.refuse("\(stream.peerName ?? "a node") at \(stream.peerAddress) belongs to another cluster")
            stream.shutdown()
            return
        }
        self.receive(stream, from: peer, handlers)
    }

    private func receive(_ stream: TLSStream, from peer: NodeID, _ handlers: Handlers) {
        // A peer that dials after a cut may finish several attempts and keeps one of them, so the newest is not the one
        // that counts. What it gave up without a word, keepalive ends.
        let surplus = self.state.change { state -> TLSStream? in
            state.inbound.append((peer, stream))
            let mine = state.inbound.filter { $0.node == peer }
            guard mine.count > Self.inboundMaximum, let oldest = mine.first else { return nil }
            state.inbound.removeAll { $0.stream === oldest.stream }
            return oldest.stream
        }
        surplus?.shutdown()
        var reader = LinkReader(stream)
        while let frame = try? reader.next() {
            do throws(CodecError) {
                let envelope = try Envelope(decoding: frame)
                // A node speaks for itself; for another only when it relays. (Rule L16)
                guard envelope.from == peer || (envelope.isRelayed && envelope.to == self.node) else {
                    self.refuse("\(stream.peerName ?? "a node") speaks for \(envelope.from)")
                    break
                }
                handlers.receive(envelope, peer)
            } catch {
                self.refuse(
                    "\(stream.peerName ?? "a node") sent something unreadable: \(error); is it another release?")
                break
            }
        }
        stream.shutdown()
        self.state.change { state in state.inbound.removeAll { $0.stream === stream } }
    }

    /// Says each kind of refusal once in a while, not for every attempt.
    private func refuse(_ text: String) {
        let isNews = self.state.change { state -> Bool in
            if state.refusals.contains(text) { return false }
            state.refusals.append(text)
            if state.refusals.count > 32 { state.refusals.removeFirst() }
            return true
        }
        if isNews { self.log.warning(text) }
    }
}

extension NodeMessage {
    /// Worthless once a newer one was sent.
    var isPerishable: Bool {
        switch self {
        case .ping, .renewal, .renewed, .voterReport, .summary: true
        case .raft, .forward, .readRequest, .readAnswer, .transferRequest: false
        }
    }
}
