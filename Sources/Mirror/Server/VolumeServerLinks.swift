import Basis
import Host
import Mirror
import SecureLink
import Synchronization

extension VolumeServer.Turn {
    /// Keeps a connection to a replica until `stopDialling`.
    mutating func dial(_ node: NodeID) {
        guard let peer = self.state.peers.first(where: { $0.node == node }) else { return }
        self.state.diallers += 1
        let number = self.state.diallers
        self.state.dialling[node] = number
        let server = self.server
        if !server.spawn({ server.runDialler(peer, number) }) { self.state.undialled.append(node) }
    }

    /// Every moment: dials what had to wait for a thread, unless it is no longer wanted.
    mutating func dialAgain() {
        let waiting = self.state.undialled
        self.state.undialled = []
        for node in waiting where self.state.dialling[node] != nil && !self.state.isStopping { self.dial(node) }
    }

    /// A connection that an owner made takes the place of its older one.
    fileprivate mutating func take(_ connection: LinkConnection, from peer: NodeID) {
        if let older = self.state.inbound[peer] {
            older.close()
            self.ended(older, .inbound, \.inbound)
        }
        self.state.inbound[peer] = connection
        self.step(.linkUp(peer: peer, direction: .inbound))
    }

    /// A connection is over; one that another replaced is no longer known, and was counted then.
    fileprivate mutating func ended(
        _ connection: LinkConnection, _ direction: Volume.Direction,
        _ links: WritableKeyPath<VolumeServer.State, [NodeID: LinkConnection]>
    ) {
        let peer = connection.peer
        guard self.state[keyPath: links][peer] === connection else { return }
        self.state[keyPath: links][peer] = nil
        self.state.count(connection)
        self.step(.linkDown(peer: peer, direction: direction))
    }
}

extension VolumeServer {
    // MARK: Outbound

    /// The configuration names other replicas, or other addresses: a link to a replica that moved is made anew.
    func takePeers(_ places: [PeerPlace]) {
        let peers = places.compactMap { VolumeServerPeer($0) }
        self.turn { (turn: consuming Turn) in
            let before = turn.state.peers
            turn.state.peers = peers
            self.reception.know(peers.map(\.host))
            for peer in peers where before.contains(where: { $0.node == peer.node && $0 != peer }) {
                guard turn.state.dialling[peer.node] != nil else { continue }
                turn.state.outbound[peer.node]?.close()
                turn.dial(peer.node)
            }
            return turn.finish()
        }
    }

    private func isPeer(_ node: NodeID) -> Bool {
        self.state.withLock { $0.peers.contains { $0.node == node } }
    }

    private func isWanted(_ node: NodeID, _ number: Int) -> Bool {
        self.state.withLock { !$0.isStopping && $0.dialling[node] == number }
    }

    fileprivate func runDialler(_ peer: VolumeServerPeer, _ number: Int) {
        var lastReason = ""
        while self.isWanted(peer.node, number) {
            do throws(SecureLinkError) {
                let stream = try TLSStream.connect(
                    host: peer.host, port: peer.port, context: self.tls, timeout: .seconds(3))
                if stream.peerNode == peer.node {
                    lastReason = ""
                    self.runOutbound(LinkConnection(stream: stream, peer: peer.node), number)
                } else {
                    stream.shutdown()
                    self.report(
                        "\(peer.host):\(peer.port) is \(stream.peerName ?? "nobody"), not \(peer.node); correct the "
                            + "replica's address", &lastReason)
                }
            } catch {
                self.report("\(error)", &lastReason)
            }
            SystemThread.sleep(.milliseconds(100))
        }
    }

    /// One sentence for each new reason, not one for each attempt.
    private func report(_ reason: String, _ last: inout String) {
        guard reason != last else { return }
        last = reason
        self.log(reason)
    }

    private func runOutbound(_ connection: LinkConnection, _ number: Int) {
        let peer = connection.peer
        var isWanted = false
        self.turn { (turn: consuming Turn) in
            // An earlier dialler of this peer may still be on its way out.
            isWanted =
                !turn.state.isStopping && turn.state.dialling[peer] == number && turn.state.outbound[peer] == nil
            if isWanted {
                turn.state.outbound[peer] = connection
                turn.step(.linkUp(peer: peer, direction: .outbound))
            }
            return turn.finish()
        }
        guard isWanted else { return connection.stream.shutdown() }
        self.run(connection) { turn, frame, payload in
            var carried = Carried(bytes: payload)
            turn.step(.frame(from: peer, frame), &carried)
        }
        self.turn { (turn: consuming Turn) in
            turn.ended(connection, .outbound, \.outbound)
            return turn.finish()
        }
    }

    // MARK: Inbound

    func runListener() {
        self.reception.run { stream in
            guard let node = stream.peerNode, self.isPeer(node) else {
                let name = stream.peerName ?? "it"
                self.reception.refuse(stream.peerHost, "\(name) is no replica of \(self.options.volume)")
                return stream.shutdown()
            }
            self.runInbound(LinkConnection(stream: stream, peer: node))
        }
    }

    private func runInbound(_ connection: LinkConnection) {
        let peer = connection.peer
        var isWanted = false
        self.turn { (turn: consuming Turn) in
            isWanted = !turn.state.isStopping
            if isWanted { turn.take(connection, from: peer) }
            return turn.finish()
        }
        guard isWanted else { return connection.stream.shutdown() }
        var lastSequence: UInt64 = 0
        self.run(connection) { turn, frame, payload in
            // A connection that was replaced has nothing to say any more.
            guard turn.state.inbound[peer] === connection else { return }
            switch frame.body {
            case .write(let sequence, _), .zero(let sequence, _, _), .blocks(let sequence, _, _):
                guard sequence > lastSequence else {
                    throw LinkError.unexpected("write \(sequence) after \(lastSequence)")
                }
                lastSequence = sequence
            default: break
            }
            var carried = Carried(
                bytes: payload, sequence: Self.hasPayload(frame) ? lastSequence : nil, hasMoreBehind: true)
            turn.step(.frame(from: peer, frame), &carried)
        }
        self.turn { (turn: consuming Turn) in
            turn.ended(connection, .inbound, \.inbound)
            return turn.finish()
        }
    }

    private static func hasPayload(_ frame: Frame) -> Bool {
        switch frame.body {
        case .write, .blocks: true
        default: false
        }
    }

    // MARK: Both

    /// Receives until the connection ends; `handle` has a turn for each frame.
    private func run(
        _ connection: LinkConnection, _ handle: (inout Turn, Frame, UnsafeRawBufferPointer) throws -> Void
    ) {
        guard self.spawn({ connection.runWriter() }) else {
            self.log("link to \(connection.peer): the system has no thread left")
            return connection.close()
        }
        do {
            try connection.runReader { frame, payload in
                try Self.check(frame, payload)
                var refusal: (any Error)?
                self.turn { (turn: consuming Turn) in
                    do { try handle(&turn, frame, payload) } catch { refusal = error }
                    return turn.finish()
                }
                if let refusal { throw refusal }
            } pause: {
                self.turn { (turn: consuming Turn) in
                    let sequence = turn.state.lastWritten
                    turn.state.lastWritten = 0
                    if sequence > 0 { turn.step(.localWritten(sequence: sequence)) }
                    return turn.finish()
                }
            }
        } catch {
            let isStopping = self.state.withLock { $0.isStopping }
            if !isStopping { self.log("link to \(connection.peer): \(error)") }
        }
        connection.close()
    }

    /// A payload has the length that its frame says.
    private static func check(_ frame: Frame, _ payload: UnsafeRawBufferPointer) throws(LinkError) {
        let block = Volume.Resync.blockBytes
        let wanted: UInt64
        switch frame.body {
        case .write(_, let extent): wanted = extent.length
        case .blocks(_, let chunk, let mask):
            guard chunk.length <= block * 64 else { throw .unexpected("a chunk of \(chunk.length) bytes") }
            wanted = Self.blocks(of: chunk, mask).reduce(0) { $0 + $1.length }
        case .sums(let chunk):
            guard chunk.length <= block * 64 else { throw .unexpected("a chunk of \(chunk.length) bytes") }
            wanted = (chunk.length + block - 1) / block * 8
        case .compare(let chunk):
            guard chunk.length <= block * 64 else { throw .unexpected("a chunk of \(chunk.length) bytes") }
            return
        default: return
        }
        guard UInt64(payload.count) == wanted else {
            throw .unexpected("\(payload.count) bytes where \(wanted) belong")
        }
    }
}
