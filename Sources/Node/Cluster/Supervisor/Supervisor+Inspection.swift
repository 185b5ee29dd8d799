import Basis
import Resources

/// Questions about other machines, before a configuration is put into force. Nothing is decided from the answers here.
extension Supervisor {
    /// As long as a client waits; a later answer is for nobody.
    private static let patience = Span.seconds(10)
    private static let maximumWaiting = 256

    mutating func inspect(
        _ node: NodeID, _ questions: [InspectionQuestion], for client: UInt64, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        let questions = Array(questions.prefix(InspectionQuestion.maximumCount))
        if node == self.identity.node {
            effects.append(.inspect(id: client, for: node, questions))
            return
        }
        for late in self.requests.inspections where late.until <= now {
            effects.append(.reply(id: late.client, .noQuorum))
        }
        self.requests.inspections.removeAll { $0.until <= now }
        guard self.requests.inspections.count < Self.maximumWaiting else {
            effects.append(.reply(id: client, .noQuorum))
            return
        }
        // An answer to a daemon of this node that has ended meanwhile must not be taken for one of ours.
        let id = client ^ self.identity.nonce
        self.requests.inspections.append(
            Requests.Inspection(id: id, client: client, node: node, until: now + Self.patience))
        self.send(.inspect(id: id, questions), to: node, at: now, into: &effects)
    }

    /// This machine has been looked at.
    mutating func inspected(
        _ id: UInt64, for asker: NodeID, _ answers: [InspectionAnswer], at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        if asker == self.identity.node {
            effects.append(.reply(id: id, .inspected(answers)))
        } else {
            self.send(.inspected(id: id, answers), to: asker, at: now, into: &effects)
        }
    }

    /// Another machine has been looked at.
    mutating func received(
        _ answers: [InspectionAnswer], to id: UInt64, from node: NodeID, into effects: inout [SupervisorEffect]
    ) {
        guard let place = self.requests.inspections.firstIndex(where: { $0.id == id && $0.node == node }) else {
            return
        }
        let inspection = self.requests.inspections.remove(at: place)
        effects.append(.reply(id: inspection.client, .inspected(answers)))
    }
}
