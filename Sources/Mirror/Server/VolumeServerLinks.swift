import Basis
import Glibc
import Mirror
import SecureLink
import Synchronization

extension VolumeServer {
    // MARK: Outbound

    /// Called with the lock: keeps a connection to a replica until `stopDialling`.
    func dial(_ node: NodeID) {
        guard let peer = self.peers.first(where: { $0.node == node }) else { return }
        self.diallers += 1
        let number = self.diallers
        self.dialling[node] = number
        if !self.spawn({ self.runDialler(peer, number) }) { self.undialled.append(node) }
    }

    /// Called with the lock, every moment: dials what had to wait for a thread, unless it is no longer wanted.
    func dialAgain() {
        let waiting = self.undialled
        self.undialled = []
        for node in waiting where self.dialling[node] != nil && !self.isStopping { self.dial(node) }
    }

    /// The configuration names other replicas, or other addresses: a link to a replica that moved is made anew.
    func takePeers(_ places: [PeerPlace]) {
        self.lock.lock()
        defer { self.lock.unlock() }
        let before = self.peers
        self.peers = places.compactMap { VolumeServerPeer($0) }
        self.reception.know(self.peers.map(\.host))
        for peer in self.peers where before.contains(where: { $0.node == peer.node && $0 != peer }) {
            guard self.dialling[peer.node] != nil else { continue }
            self.outbound[peer.node]?.close()
            self.dial(peer.node)
        }
    }

    private func isPeer(_ node: NodeID) -> Bool {
        self.lock.lock()
        defer { self.lock.unlock() }
        return self.peers.contains { $0.node == node }
    }

    private func isWanted(_ node: NodeID, _ number: Int) -> Bool {
        self.lock.lock()
        defer { self.lock.unlock() }
        return !self.isStopping && self.dialling[node] == number
    }

    private func runDialler(_ peer: VolumeServerPeer, _ number: Int) {
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
            usleep(100_000)
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
        self.lock.lock()
        // An earlier dialler of this peer may still be on its way out.
        guard !self.isStopping, self.dialling[peer] == number, self.outbound[peer] == nil else {
            self.lock.unlock()
            return connection.stream.shutdown()
        }
        self.outbound[peer] = connection
        self.stepLocked(.linkUp(peer: peer, direction: .outbound))
        self.finishStep()
        self.run(connection) { frame, payload in
            self.inputPayload = payload
            self.stepLocked(.frame(from: peer, frame))
        }
        self.lock.lock()
        if self.outbound[peer] === connection {
            self.outbound[peer] = nil
            self.count(connection)
            self.stepLocked(.linkDown(peer: peer, direction: .outbound))
        }
        self.finishStep()
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
        self.lock.lock()
        if self.isStopping {
            self.lock.unlock()
            return connection.stream.shutdown()
        }
        if let older = self.inbound[peer] {
            older.close()
            self.count(older)
            self.inbound[peer] = nil
            self.stepLocked(.linkDown(peer: peer, direction: .inbound))
        }
        self.inbound[peer] = connection
        self.stepLocked(.linkUp(peer: peer, direction: .inbound))
        self.finishStep()
        var lastSequence: UInt64 = 0
        self.run(connection) { frame, payload in
            // A connection that was replaced has nothing to say any more.
            guard self.inbound[peer] === connection else { return }
            self.inputPayload = payload
            self.isBatch = true
            switch frame.body {
            case .write(let sequence, _), .zero(let sequence, _, _), .blocks(let sequence, _, _):
                guard sequence > lastSequence else {
                    throw LinkError.unexpected("write \(sequence) after \(lastSequence)")
                }
                lastSequence = sequence
            default: break
            }
            guard Self.hasPayload(frame) else { return self.stepLocked(.frame(from: peer, frame)) }
            self.inputSequence = lastSequence
            self.stepLocked(.frame(from: peer, frame))
        }
        self.lock.lock()
        if self.inbound[peer] === connection {
            self.inbound[peer] = nil
            self.count(connection)
            self.stepLocked(.linkDown(peer: peer, direction: .inbound))
        }
        self.finishStep()
    }

    private static func hasPayload(_ frame: Frame) -> Bool {
        switch frame.body {
        case .write, .blocks: true
        default: false
        }
    }

    // MARK: Both

    /// Receives until the connection ends; `handle` is called with the lock.
    private func run(
        _ connection: LinkConnection, _ handle: (Frame, UnsafeRawBufferPointer) throws -> Void
    ) {
        guard self.spawn({ connection.runWriter() }) else {
            self.log("link to \(connection.peer): the system has no thread left")
            return connection.close()
        }
        do {
            try connection.runReader { frame, payload in
                try Self.check(frame, payload)
                self.lock.lock()
                do {
                    try handle(frame, payload)
                    self.finishStep()
                } catch {
                    self.finishStep()
                    throw error
                }
            } pause: {
                self.lock.lock()
                if self.lastWritten > 0 {
                    let sequence = self.lastWritten
                    self.lastWritten = 0
                    self.stepLocked(.localWritten(sequence: sequence))
                }
                self.finishStep()
            }
        } catch {
            self.lock.lock()
            let isStopping = self.isStopping
            self.lock.unlock()
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

    /// Called with the lock: keeps the totals of a connection that ended.
    private func count(_ connection: LinkConnection) {
        self.sentBytes += connection.sentBytes.load(ordering: .relaxed)
        self.sentCompressedBytes += connection.sentCompressedBytes.load(ordering: .relaxed)
    }
}
