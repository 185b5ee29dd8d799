import Basis
import Cluster
import Host
import SecureLink

/// Which of the machines that say that they are one node is listened to. What is so is seen and said by values (`TwinWatch`,
/// `TwinRule`); this reads connections and ends them. (Rule E5)
extension Transport {
    /// Whether a message counts. Who says for the first time in what boot it is may be another machine than the log knows; while it
    /// knows of several, nothing is taken of who has not said it.
    func isHeard(
        _ envelope: Envelope, on stream: TLSStream, from peer: NodeID, _ handlers: Handlers
    ) -> Bool {
        guard envelope.from == peer else { return true }
        guard case .summary(let summary) = envelope.message, !summary.bootID.isEmpty else {
            return self.state.withLock { state in
                guard let only = state.rule(of: peer).only else { return true }
                return state.inbound.contains { $0.stream === stream && $0.bootID == only }
            }
        }
        // As it was when the handshake began: the connection may be gone by now.
        let twin = Twin(
            bootID: summary.bootID, host: HostPort(stream.peerAddress)?.host ?? "",
            fingerprint: stream.peerFingerprint ?? [])
        let (rule, met, stale) = self.state.change { state in
            let finding = state.twins.heard(twin, of: peer, since: stream.handshakeBegan, at: MachineClock.now)
            for place in state.inbound.indices where state.inbound[place].stream === stream {
                state.inbound[place].bootID = twin.bootID
            }
            let stale = state.inbound.filter { inbound in
                inbound.node == peer && inbound.bootID.map { finding.stale.contains($0) } ?? false
            }
            return (state.rule(of: peer), finding.twins, stale.map(\.stream))
        }
        for stream in stale { stream.shutdown() }
        if !met.isEmpty { handlers.twins(peer, met, rule.settledAt) }
        guard let only = rule.only else { return true }
        if !rule.known.contains(where: { $0.bootID == twin.bootID }) { handlers.twins(peer, [twin], rule.settledAt) }
        guard twin.bootID == only else {
            self.showOut(stream, peer, rule)
            return false
        }
        return true
    }

    /// Ends a connection that was made with a certificate of which only a copy makes use.
    func showOutRevoked(_ stream: TLSStream, _ peer: NodeID) -> Bool {
        let rule = self.state.withLock { $0.rule(of: peer) }
        guard rule.isRevoked(stream.peerFingerprint) else { return false }
        self.showOut(stream, peer, rule)
        return true
    }

    /// Ends the connections of machines that are not listened to any more.
    func showTwinsOut() {
        let out = self.state.withLock { state in
            state.inbound.compactMap { inbound -> (Inbound, TwinRule)? in
                let rule = state.rule(of: inbound.node)
                let isOther = rule.only.map { only in inbound.bootID.map { $0 != only } ?? false } ?? false
                guard isOther || rule.isRevoked(inbound.stream.peerFingerprint) else { return nil }
                return (inbound, rule)
            }
        }
        for (inbound, rule) in out {
            // It connects anew at once, with the certificate that it has by now.
            if inbound.isOriginal {
                inbound.stream.shutdown()
            } else {
                self.showOut(inbound.stream, inbound.node, rule)
            }
        }
    }

    private func showOut(_ stream: TLSStream, _ peer: NodeID, _ rule: TwinRule) {
        let isRevoked = rule.isRevoked(stream.peerFingerprint)
        self.refuse(
            stream,
            isRevoked
                ? "it shows a former certificate of \(stream.peerName ?? "a node"): it is a copy of that machine (E5)"
                : "several machines say that they are \(stream.peerName ?? "a node"), and this one is not listened to (E5)"
        )
        Farewell.send(
            TwinWord(isDecided: isRevoked, machines: rule.known, shown: stream.peerFingerprint ?? []), to: stream)
        stream.shutdown()
    }
}

extension Transport.State {
    func rule(of node: NodeID) -> TwinRule { self.roll.peers.first { $0.node == node }?.twins ?? TwinRule() }

    /// What was seen before a person settled which machine a node is says nothing any more.
    mutating func settleTwins(_ roll: PeerRoll) {
        for peer in roll.peers {
            let before = self.rule(of: peer.node)
            guard peer.twins.settledAt != before.settledAt else { continue }
            self.twins.forget(peer.node)
            for place in self.inbound.indices where self.inbound[place].node == peer.node {
                self.inbound[place].isOriginal = before.only != nil && self.inbound[place].bootID == before.only
            }
        }
    }
}
