import Basis
import Raft

/// What a survey means for a recovery that a person may order on the node that asked. (Rules R2, R3)
public struct RecoverySurvey: Sendable {
    /// Why nothing is to be recovered from here.
    public enum Objection: Equatable, Sendable {
        /// This node follows a leader: a majority is alive.
        case leads(heardBy: NodeID)
        /// This node's log knows a later generation than the one of who asks.
        case later(knownBy: NodeID)
        /// A majority of the voters answers, and none of it has turned away from the present generation.
        case majorityAnswers
    }

    /// Those that answered, and how they stand.
    public let words: [Surveyed]

    /// What a `surveyed` brought.
    public init(_ words: [Surveyed]) { self.words = words }

    /// Those that have turned away from the generation that their log knows, after an order that failed.
    public var prepared: [NodeID] {
        self.words.filter { $0.word.generation.number > $0.word.base.number }.map(\.node)
    }

    /// No node that answered follows a generation with a higher number.
    public var highestNumber: UInt32 { self.words.map(\.word.generation.number).max() ?? 0 }

    /// Whether a node answered.
    public func hasAnswered(_ node: NodeID) -> Bool { self.words.contains { $0.node == node } }

    /// Nodes of this state that did not answer.
    public func silent(of state: ClusterState) -> [NodeID] {
        state.nodes.map(\.id).filter { !self.hasAnswered($0) }
    }

    /// Why nothing is to be recovered from the node that asked; nil if a recovery may be ordered there.
    public func objection(on asking: Supervisor) -> Objection? {
        if let leader = self.words.first(where: \.word.hasLeader) { return .leads(heardBy: leader.node) }
        let here = self.words.first { $0.node == asking.identity.node }?.word.base.number ?? 0
        if let later = self.words.first(where: { $0.word.base.number > here }) { return .later(knownBy: later.node) }
        let prepared = self.prepared
        let isPart = { (node: NodeID) -> Bool in self.hasAnswered(node) && !prepared.contains(node) }
        guard asking.generation.overtakenBy == nil, asking.consensus.membership.hasMajority(where: isPart) else {
            return nil
        }
        return .majorityAnswers
    }
}
