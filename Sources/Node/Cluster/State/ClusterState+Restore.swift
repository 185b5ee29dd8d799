import Basis
import Raft
import Resources

/// How a cluster begins anew, on other machines, with what an earlier one had agreed on. (Rule R6)
extension ClusterState {
    /// How far the generation rises: above all that the earlier cluster can have recovered to since the backup, so that every copy
    /// takes the epochs of the new one.
    static let restoredGenerations: UInt32 = 100

    /// What a restored cluster begins with, and who begins it.
    public struct Beginning: Equatable, Sendable {
        /// What it has agreed on.
        public var state: ClusterState
        /// Its only node.
        public var founder: NodeID
        /// What it follows.
        public var generation: Generation
    }

    /// What the new cluster is called by programs and certificates, and what it says of itself.
    public struct Restoration: Equatable, Sendable {
        /// Unlike that of any other cluster.
        public var clusterID: UInt64
        /// Drawn for the generation.
        public var recovery: UInt64
        /// All that its founder can do.
        public var level: FeatureLevel
        /// Where it comes from, for the events.
        public var statement: String
        /// The wall clock of now.
        public var wallMilliseconds: UInt64
        /// All fields.
        public init(
            clusterID: UInt64, recovery: UInt64, level: FeatureLevel, statement: String, wallMilliseconds: UInt64
        ) {
            self.clusterID = clusterID
            self.recovery = recovery
            self.level = level
            self.statement = statement
            self.wallMilliseconds = wallMilliseconds
        }
    }

    /// The beginning of a new cluster with the configuration, the attributes and the names of this one. Nobody of this one is
    /// trusted in it: every node is a machine that was lost, whose name another may take. What ran may have gone on since, so
    /// nothing runs before a person starts it, no volume is used before a person signed for one of its copies, and none that is
    /// found is made anew before.
    public func restored(_ restoration: Restoration, by founder: JoiningNode) throws(Refusal) -> Beginning {
        guard self.level <= restoration.level else {
            throw .unfit(
                "the cluster had agreed on feature level \(self.level), and this program does \(restoration.level): install the "
                    + "release that made the backup, or a later one")
        }
        if let problem = founder.problem { throw .unfit(problem) }
        guard self.clusterID != 0 else { throw .unfit("it holds no cluster") }
        guard self.nodesEver < Self.nodesMaximum else { throw .unfit("it has given away every node id there is") }
        if let other = self.nodes.first(where: { $0.about.address == founder.address && $0.about.name != founder.name })
        {
            throw .unfit(
                "\(founder.address) is the address of \(other.about.name): restore under that name, or elsewhere")
        }
        var state = self
        let index = self.appliedIndex.next
        let dead = self.nodes.map(\.id)
        state.level = restoration.level
        state.clusterID = restoration.clusterID
        state.appliedIndex = index
        state.wallMilliseconds = max(self.wallMilliseconds, restoration.wallMilliseconds)
        state.requests = AppliedRequests()
        state.authorities = Authorities()
        if let place = self.nodes.firstIndex(where: { $0.about.name == founder.name }) {
            state.giveUpName(ofNodeAt: place)
        }
        state.append(founder)
        let node = NodeID(state.nodesEver)
        let plan = RecoveryPlan(
            generation: Generation(number: self.generation + Self.restoredGenerations, recovery: restoration.recovery),
            base: self.base, coordinator: node, survivors: [node], dead: dead, statement: restoration.statement,
            startsGroups: false)
        state.note(.cluster(.noted(KeptWords(restoration.statement), about: nil)), at: index)
        state.forgetCopies(under: Epoch(generation: plan.generation.number, index: index.rawValue))
        _ = state.recover(plan, at: index)
        state.forgetAssignments(at: index)
        return Beginning(state: state, founder: node, generation: plan.generation)
    }

    /// As if no group had ever run: it is searched for before it is started anywhere. (Rule B2)
    private mutating func forgetAssignments(at index: LogIndex) {
        self.holdings = []
        self.groups = self.groups.filter { self.policy.group($0.name) != nil }.map { old in
            var record = GroupRecord(name: old.name)
            record.isWanted = false
            record.wishedAt = index
            record.since = self.clusterMilliseconds
            return record
        }
    }

    /// No copy is known. Every volume counts as used, so that the recovery has a person sign for each: one that was not may have
    /// been since.
    private mutating func forgetCopies(under epoch: Epoch) {
        self.volumes.removeAll { self.policy.volume($0.name) == nil }
        for place in self.volumes.indices {
            self.volumes[place].copies = []
            self.volumes[place].inSync = []
            self.volumes[place].former = []
            self.volumes[place].mayRepair = false
            self.volumes[place].epoch = epoch
        }
    }
}
