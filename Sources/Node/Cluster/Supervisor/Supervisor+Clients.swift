import Basis
import Raft

/// Commands on their way into the log, and the clients that wait for them.
extension Supervisor {
    mutating func client(
        _ id: UInt64, _ request: ClientRequest, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        switch request {
        case .propose(let command):
            // The leader would not take it; whoever asks is to know why.
            if let objection = self.state.objection(to: command, from: self.identity.node)
                ?? self.raiseObjection(command, at: now)
            {
                effects.append(.reply(id: id, .applied(.refused(objection), at: self.state.appliedIndex)))
                return
            }
            self.enqueue(command, client: id, at: now, into: &effects)
        case .read: self.requests.reads.add(id, at: now)
        case .transferLeadership(let target):
            guard let leader = self.consensus.outline.leader else {
                effects.append(.reply(id: id, .noQuorum))
                return
            }
            if leader == self.identity.node {
                self.consensusStep(.transferLeadership(to: target), at: now, into: &effects)
            } else {
                self.send(.transferRequest(to: target), to: leader, at: now, into: &effects)
            }
            effects.append(.reply(id: id, .handedOn))
        case .shutDown:
            if self.departure.since == nil { self.departure.since = now }
            effects.append(.reply(id: id, .shuttingDown(left: self.shutDownLeft)))
        case .gather: self.gather(for: id, at: now, into: &effects)
        case .survey: self.survey(for: id, at: now, into: &effects)
        case .recover(let order): self.recover(order, for: id, at: now, into: &effects)
        case .rejoin: self.rejoin(for: id, at: now, into: &effects)
        case .inspect(let node, let questions):
            self.inspect(node, questions, for: id, at: now, into: &effects)
        }
    }

    /// Asks for a command on this node's own behalf; asked once until it is applied or given up.
    mutating func request(_ command: Command, at now: Tick, into effects: inout [SupervisorEffect]) {
        if self.requests.hasAsked(for: command) { return }
        // Rule U2: what this node would ask for again and again, it would never see done.
        if self.applied.unreadable != nil, self.hasResigned { return }
        self.enqueue(command, client: nil, at: now, into: &effects)
    }

    private mutating func enqueue(
        _ command: Command, client: UInt64?, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        self.transmit(self.requests.add(command, client: client, at: now), at: now, into: &effects)
    }

    private mutating func transmit(_ pending: Requests.Pending, at now: Tick, into effects: inout [SupervisorEffect]) {
        let command = LogCommand(
            origin: self.identity.node, nonce: self.identity.nonce, sequence: pending.sequence,
            clusterMilliseconds: 0, wallMilliseconds: 0, command: pending.command)
        guard let leader = self.consensus.outline.leader else { return }
        if leader == self.identity.node {
            self.proposeForwarded(command, from: leader, at: now, into: &effects)
        } else {
            self.send(.forward(command), to: leader, at: now, into: &effects)
        }
    }

    mutating func settlePending(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard !self.requests.pending.isEmpty else { return }
        let (givenUp, again) = self.requests.settle(at: now)
        for client in givenUp { effects.append(.reply(id: client, .noQuorum)) }
        // The first of them may settle others, where this node decides alone.
        for pending in again where self.requests.pending.place(of: pending.sequence, by: \.sequence) != nil {
            self.transmit(pending, at: now, into: &effects)
        }
    }

    /// An entry was applied: whoever waits for it gets its outcome.
    mutating func resolve(
        _ entry: LogCommand, _ outcome: Outcome, at index: LogIndex, into effects: inout [SupervisorEffect]
    ) {
        guard entry.origin == self.identity.node, entry.nonce == self.identity.nonce,
            let done = self.requests.resolve(entry.sequence)
        else { return }
        if let client = done.client { effects.append(.reply(id: client, .applied(outcome, at: index))) }
    }
}

extension Command {
    /// Whether a pending request makes this one needless: the same, or another step for the same group's epoch.
    func isSameRequest(as other: Command) -> Bool {
        switch (self, other) {
        case (.assign(let left, _, _, _, _, _), .assign(let right, _, _, _, _, _)): left == right
        case (.release(let left, let leftEpoch, _, _), .release(let right, let rightEpoch, _, _)):
            left == right && leftEpoch == rightEpoch
        case (.park(let left, _, _, _), .park(let right, _, _, _)): left == right
        case (.stopped(let left, let leftEpoch, _), .stopped(let right, let rightEpoch, _)):
            left == right && leftEpoch == rightEpoch
        default: self == other
        }
    }
}
