import Basis

/// What is so, as far as the replicated state knows: the planner's other input beside the policy.
public struct Observation: Equatable, Sendable {
    /// How a node stands.
    public enum Standing: String, Sendable {
        /// Never admitted.
        case never
        /// Its lease may be renewed.
        case up
        /// Silent; its lease may still run.
        case suspected
        /// Its lease has certainly ended.
        case lost
    }

    /// One node.
    public struct Node: Equatable, Sendable {
        /// Its name.
        public var name: String
        /// Whether it may run groups: false for witnesses.
        public var isMember: Bool
        /// How it stands.
        public var standing: Standing
        /// An operator wants it empty.
        public var isDrained: Bool
        /// It shuts down: what it runs leaves, or stops where nothing else may run it.
        public var isDeparting: Bool
        /// Several machines say that they are it: what it runs goes elsewhere, or stops. (Rule E5)
        public var isDuplicated: Bool
        /// A person said that it is about to pause: what it runs stays, and nothing comes that may run elsewhere. (Rule L22)
        public var isToPause: Bool
        /// The log index at which it was last admitted: later than a group's epoch if it restarted since.
        public var admittedAt: UInt64
        /// All fields.
        public init(
            name: String, isMember: Bool, standing: Standing, isDrained: Bool, isDeparting: Bool = false,
            isDuplicated: Bool = false, isToPause: Bool = false,
            admittedAt: UInt64
        ) {
            self.name = name
            self.isMember = isMember
            self.standing = standing
            self.isDrained = isDrained
            self.isDeparting = isDeparting
            self.isDuplicated = isDuplicated
            self.isToPause = isToPause
            self.admittedAt = admittedAt
        }
    }

    /// Why a node must not run a group.
    public struct Ban: Equatable, Sendable {
        /// The node's name.
        public var node: String
        /// What happened there.
        public var reason: String
        /// Both fields.
        public init(node: String, reason: String) {
            self.node = node
            self.reason = reason
        }
    }

    /// One group.
    public struct Group: Equatable, Sendable {
        /// Its name.
        public var name: GroupName
        /// An operator wants it running.
        public var isWanted: Bool
        /// The node that it is assigned to.
        public var owner: String?
        /// Its owner was told to stop it.
        public var isReleasing: Bool
        /// The last epoch's log index; zero when it was never assigned.
        public var epochIndex: UInt64
        /// Its last owner, once there was one.
        public var lastOwner: String?
        /// Members that have not reported yet that nothing of it runs there; empty once it was born. (Rule B2)
        public var unreported: [String]
        /// Why it must wait for another group wherever it starts; nil when nobody holds what it wants. (Rule B5)
        public var awaits: String?
        /// Nodes where another group holds a directory that it wants. (Rule B5)
        public var occupied: [Ban]
        /// What those of them that have looked met instead. (Rule B2)
        public var findings: [Ban]
        /// Nodes where it failed.
        public var bans: [Ban]
        /// Nodes that lack the data: a volume's in-sync set does not hold them. (Rule V8)
        public var withoutData: [Ban]
        /// Nodes outside of its list that have all its data while none of the list has: it may run there until one has.
        /// (Rule V21.1)
        public var retreats: [String]
        /// A node that must not run it, where something of it is left all the same. (Rules L11.5, L12.3)
        public var remains: Ban?
        /// Why it is parked, if it is.
        public var parked: String?
        /// Where an operator wants it next.
        public var target: String?
        /// Moves within the policy's window.
        public var recentMoves: Int
        /// The last of them was so short a time ago that what caused it may not be over.
        public var isUnsettled: Bool

        /// A group that was never touched.
        public init(name: GroupName) {
            self.name = name
            self.isWanted = true
            self.owner = nil
            self.isReleasing = false
            self.epochIndex = 0
            self.lastOwner = nil
            self.unreported = []
            self.findings = []
            self.awaits = nil
            self.occupied = []
            self.bans = []
            self.withoutData = []
            self.retreats = []
            self.remains = nil
            self.parked = nil
            self.target = nil
            self.recentMoves = 0
            self.isUnsettled = false
        }
    }

    /// All nodes, sorted by name.
    public var nodes: [Node]
    /// All groups, sorted by name.
    public var groups: [Group]

    /// Sorts its arguments.
    public init(nodes: [Node], groups: [Group]) {
        self.nodes = nodes.sorted { $0.name < $1.name }
        self.groups = groups.sorted { $0.name < $1.name }
    }

    /// The node of this name.
    public func node(_ name: String) -> Node? { self.nodes.place(of: name, by: \.name).map { self.nodes[$0] } }
    /// The group of this name.
    public func group(_ name: GroupName) -> Group? {
        self.groups.place(of: name, by: \.name).map { self.groups[$0] }
    }
}
