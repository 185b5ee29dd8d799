import Basis
import Raft
import Resources

/// Everything the cluster agrees on: what applying the log produces, the same on every node.
///
/// `apply` is deterministic and total: an entry that no longer fits is refused with a reason and changes nothing.
public struct ClusterState: Equatable, Sendable {
    /// Identifies the cluster; random, set by `bootstrap`.
    public internal(set) var clusterID: UInt64 = 0
    /// Its name.
    public internal(set) var clusterName = ""
    /// Raised by each recovery from majority loss. (Rule E1)
    public internal(set) var generation: UInt32 = 0
    /// What all nodes can do, as far as was agreed on. (Rule U1)
    public internal(set) var level = FeatureLevel.first
    /// What was agreed on in each of them, oldest first. (Rule R5)
    public internal(set) var recoveries: [RecoveryPlan] = []
    /// The policy in force.
    public internal(set) var policy = ClusterPolicy(name: "")
    /// The text it was read from.
    public internal(set) var policyText = ""
    /// The index of the entry that set it; zero before the first.
    public internal(set) var policyIndex = LogIndex.zero
    /// Sorted by id.
    public internal(set) var nodes: [NodeRecord] = []
    /// How many ids were ever given.
    package internal(set) var nodesEver: UInt32 = 0
    /// No cluster has more node ids: what begins with one has its version in the byte above. (docs/formats.md)
    static let nodesMaximum: UInt32 = 0xFF_FFFF
    /// Sorted by name.
    public internal(set) var groups: [GroupRecord] = []
    /// Sorted by name.
    public internal(set) var volumes: [VolumeRecord] = []
    /// What assignments may still hold, sorted by group, then epoch. (Rule B5)
    public internal(set) var holdings: [Holding] = []
    /// What people and programs have left here.
    public internal(set) var attributes = Attributes()
    /// The latest events, oldest first; at most `Self.eventsMaximum`. A slice, because it loses the first for each new one.
    public internal(set) var events: ArraySlice<ClusterEvent> = []
    /// The authorities that nodes trust. (Rule I2)
    public internal(set) var authorities = Authorities()
    /// When the last command was given.
    var times = CommandTimes()
    /// Requests that were applied, so that none is applied twice.
    var requests = AppliedRequests()
    /// The last entry applied.
    public internal(set) var appliedIndex = LogIndex.zero
    /// The groups that entries were about since somebody looked; no part of what is agreed on.
    var touched = TouchedGroups()

    /// How many events are kept; older ones are in the nodes' logs only.
    public static let eventsMaximum = 500

    /// The state before the first entry.
    public init() {}

    /// When a command was given.
    struct CommandTimes: Equatable, Sendable {
        var cluster: UInt64 = 0
        var wall: UInt64 = 0
    }

    /// Cluster time of the last command.
    public internal(set) var clusterMilliseconds: UInt64 {
        get { self.times.cluster }
        set { self.times.cluster = newValue }
    }
    /// Wall clock of the last command, for people.
    public internal(set) var wallMilliseconds: UInt64 {
        get { self.times.wall }
        set { self.times.wall = newValue }
    }

    /// How a node stands.
    public enum Standing: Equatable, Sendable {
        /// Joined, but never admitted.
        case never
        /// May hold a lease.
        case trusted
        /// Voters answer it no more since this entry.
        case suspected(at: LogIndex)
        /// Its lease has certainly ended.
        case lost
    }

    /// What makes no difference between two states.
    struct TouchedGroups: Equatable, Sendable {
        var names: [GroupName] = []
        /// While an entry is applied: the node that asked for it.
        var asker: NodeID?
        static func == (left: TouchedGroups, right: TouchedGroups) -> Bool { true }
    }

    /// One node.
    public struct NodeRecord: Equatable, Sendable {
        /// Its id.
        public var id: NodeID
        /// What it told about itself.
        public var about: JoiningNode
        /// How it stands.
        public var standing: Standing { didSet { Standing.assertStep(from: oldValue, to: self.standing) } }
        /// The term of the entry that suspects it, while it is suspected. (Rule L5.2)
        public var suspicionTerm = Term.zero
        /// Its current life.
        public var incarnation: Incarnation
        /// The boot id of that life.
        public var bootID: String
        /// The latest start of its log that was admitted. (Rule E2)
        public var mark: StartMark
        /// The entry that let its log directory in. (Rule E2.6)
        public var directoryAdmittedAt: LogIndex
        /// The longest D that was in force since this life began: no renewal of it can carry more. (Rule L5.1)
        public var longestLease = Span.zero
        /// The longest G that was in force since this life began. (Rule L5.1)
        public var longestGrace = Span.zero
        /// An operator wants it empty.
        public var isDrained: Bool
        /// An operator wants it gone for good. (Rule J2)
        public var isRetiring = false
        /// Where it listened before, and may still. (Rule J4)
        public var formerAddress: String?
        /// What operators put on it, sorted by name.
        public var labels: [NodeLabel] = []
        /// A recovery has given it up: until a life of it is let in again, nobody touches its copies. (Rule R4)
        public var isLeftBehind = false
        /// It shuts down in order: nothing is assigned to this life any more. (Rule L21)
        public var isDeparting = false
        /// Its certificate, in its own words; nil before it has said it.
        public var certificate: CertificateRecord?
        /// Cluster time until which a person expects this life of it to pause; zero: nobody does. (Rule L22)
        public var pauseExpectedUntil: UInt64 = 0
        /// The machines that say that they are this node. (Rule E5)
        public var twins = Twins()
        /// Cluster time of the last change of `standing`.
        public var since: UInt64
        /// The node, as events name it.
        var named: NamedNode { NamedNode(self.id, self.about.name) }
    }

    /// One group's ownership.
    public struct GroupRecord: Equatable, Sendable {
        /// Who owns it, from `assign` to `stopped` or `lost`.
        public struct Assignment: Equatable, Sendable {
            /// The owner.
            public var node: NodeID
            /// The life of the owner that it is valid for. (Rule L1)
            public var incarnation: Incarnation
            /// The owner reported that everything runs.
            public var isStarted: Bool
            /// The owner was told to stop, for this reason.
            public var releasing: String?
        }
        /// A failure on a node, which bans the node.
        public struct Ban: Equatable, Sendable {
            /// Where.
            public var node: NodeID
            /// What happened.
            public var failure: GroupFailure
            /// Cluster time of it; the ban ends when the group's window for restarts has passed since.
            public var since: UInt64
        }
        /// Its name.
        public var name: GroupName
        /// An operator wants it running.
        public var isWanted = true
        /// Its owner, if it has one.
        public var assignment: Assignment?
        /// The epoch of the latest assignment.
        public var epoch = Epoch.none
        /// The node of the latest assignment.
        public var lastOwner: NodeID?
        /// The last owner confirmed a clean stop, so every in-sync copy is equal. (Rule V7)
        public var wasCleanlyStopped = false
        /// The entry since which it is searched for; answers to an earlier search do not count. (Rule B2)
        public var searchedSince = LogIndex.zero
        /// Members that found nothing of it, or were signed for. (Rule B2)
        public var absentOn: [NodeID] = []
        /// What other members met instead; one for each, sorted by node. (Rule B2)
        public var findings: [Finding] = []
        /// What a changed configuration of a running group adds and somebody else may still hold: it waits for that, and
        /// runs without the resources from there on. Sorted. (Rule B5)
        public var awaited: [Claim] = []
        /// The entry of an operator's latest wish.
        public var wishedAt = LogIndex.zero
        /// Where it failed.
        public var bans: [Ban] = []
        /// Why it is parked, if it is.
        public var parked: String?
        /// Where an operator wants it next.
        public var target: NodeID?
        /// Cluster times of its moves, within the policy's window.
        public var moves: [UInt64] = []
        /// What is left of it on nodes that must not run it, as they say; sorted by node. (Rules L11.5, L12.3)
        public var remains: [RemainsRecord] = []
        /// Cluster time of the last change.
        public var since: UInt64 = 0
        /// What it was when it was removed from the configuration: its owner stops it by that. (Rule K2)
        public var removedPolicy: GroupPolicy?

        init(name: GroupName) { self.name = name }
    }

    /// What a member's search for a group that never ran met that was no clean "not running". (Rule B2)
    public struct Finding: Equatable, Sendable {
        /// The member.
        public var node: NodeID
        /// The resource that it looked for.
        public var resource: ResourceName
        /// It runs there already; else it could not be found out.
        public var isRunning: Bool
        /// What the agent said, in one bounded line; may be empty.
        public var reason: String
        /// All fields.
        public init(node: NodeID, resource: ResourceName, isRunning: Bool, reason: String) {
            self.node = node
            self.resource = resource
            self.isRunning = isRunning
            self.reason = ForeignText.line(reason)
        }

        /// A clause after the node's name.
        public var clause: String {
            let tail = self.reason.isEmpty ? "" : " (\(self.reason))"
            return self.isRunning
                ? "runs \(self.resource) already, outside of Holdfast\(tail)"
                : "cannot tell whether \(self.resource) runs there\(tail)"
        }
    }

    /// What one assignment may still hold: from `assign` to the owner's word that it has stopped or dropped it, or the end
    /// of that life. Sorted by group, then epoch. (Rules B5, B5.1)
    public struct Holding: Equatable, Sendable {
        /// The group.
        public var group: GroupName
        /// The epoch of the assignment.
        public var epoch: Epoch
        /// The owner.
        public var node: NodeID
        /// The owner's life.
        public var incarnation: Incarnation
        /// Sorted.
        public var claims: [Claim]
        /// Those of them that the configuration no longer has: held until the owner says that it dropped them. Sorted.
        public var surplus: [Claim] = []
        /// Grows with each configuration and each claim that is added, so that an older word of the owner is refused.
        public var version: UInt64 = 0
    }

    /// One volume's in-sync set.
    public struct VolumeRecord: Equatable, Sendable {
        /// A copy as the log knows it. (Rule V18)
        public struct Copy: Equatable, Sendable {
            /// The node that keeps it.
            public var node: NodeID
            /// Drawn when it was made.
            public var identity: UInt64
            /// The mark of its latest start that the log noted.
            public var mark: UInt64
            /// An epoch that it surely has accepted.
            public var epoch: Epoch
            /// The largest volume that fits where it is.
            public var capacityBytes: UInt64
            /// The boot of its machine in which it was looked at last.
            public var bootID: String
            /// What a copy there is judged against.
            var knowledge: CopyKnowledge { CopyKnowledge(mark: self.mark, epoch: self.epoch) }
        }
        /// Its name.
        public var name: VolumeName
        /// Tells it from an earlier or later volume of the same name. (Rule V17)
        public var identity: UInt64
        /// Its definition in force: of the policy, but with replicas that are still needed, and of the size that it was
        /// opened with last. (Rule V21)
        public var definition: VolumePolicy
        /// The copies that the log knows, sorted by node; at most one on each.
        public var copies: [Copy] = []
        /// A group on it was up once: it holds data, and is never formatted or repaired without a person. (Rule V22)
        public var isWritten = false
        /// A person allowed that the next start repairs its file system. (Rule V22)
        public var mayRepair = false
        /// The majority was lost since somebody knew which copies hold every write: none is used before a person signed for
        /// one. (Rule R4)
        public var isUnproven = false
        /// Counts how often a person wanted its copies compared as a whole.
        public var comparisons: UInt64 = 0
        /// The epoch of its owner; refused to go back. (Rule E1)
        public var epoch = Epoch.none
        /// The node that may write to it.
        public var owner: NodeID?
        /// The replicas that hold every acknowledged write.
        public var inSync: [NodeID] = []
        /// The other replicas of the set before an unplanned promotion, until the volume was opened: `opens` takes them
        /// back or lets them go, and only then is anybody served. (Rules V7, V7.1)
        public var former: [NodeID] = []
        /// Counts changes of `inSync`. (Rule V4)
        public var version: UInt64 = 0

        init(_ definition: VolumePolicy, identity: UInt64) {
            self.name = definition.name
            self.definition = definition
            self.identity = identity
        }

        /// Every replica that holds all acknowledged writes, sorted: the set, and until the volume was opened the one
        /// before. Who joins before it was opened is in both. (Rule V7.1)
        public var holders: [NodeID] {
            if self.former.isEmpty { return self.inSync }
            return (self.inSync + self.former.filter { !self.inSync.contains($0) }).sorted()
        }

        /// Whether it can be made larger while it is in use: files are at once, and the zeros at the end of a device may
        /// take longer to write than its users can wait. (Rule V21)
        public var growsInUse: Bool { self.copies.allSatisfy { $0.capacityBytes == UInt64(Int64.max) } }

        /// The copy of a node, as the log knows it.
        public func copy(of node: NodeID) -> Copy? { self.copies.first { $0.node == node } }
    }

    /// The record of a node.
    public func node(_ id: NodeID) -> NodeRecord? { self.nodes.place(of: id).map { self.nodes[$0] } }
    /// The record of a node by name.
    public func node(named name: String) -> NodeRecord? { self.nodes.first { $0.about.name == name } }
    /// The record of a group.
    public func group(_ name: GroupName) -> GroupRecord? {
        self.groups.place(of: name, by: \.name).map { self.groups[$0] }
    }
    /// What a group is: as configured, or, until its owner has stopped it, as it was when it was removed. (Rule K2)
    public func policy(of record: GroupRecord) -> GroupPolicy? {
        self.policy.group(record.name) ?? record.removedPolicy
    }
    /// The record of a volume.
    public func volume(_ name: VolumeName) -> VolumeRecord? {
        self.volumes.place(of: name, by: \.name).map { self.volumes[$0] }
    }
    /// A node's name, or its id when it is unknown.
    public func name(of id: NodeID) -> String {
        self.nodes.place(of: id).map { self.nodes[$0].about.name } ?? id.description
    }
    /// The id of a node by name.
    func id(named name: String) -> NodeID? {
        for place in self.nodes.indices where self.nodes[place].about.name == name { return self.nodes[place].id }
        return nil
    }
}

extension [ClusterState.NodeRecord] {
    /// Where the record of a node lies: for looking at a part of it without a copy of the whole.
    func place(of id: NodeID) -> Int? {
        for place in self.indices where self[place].id == id { return place }
        return nil
    }

    /// The applied log suspects somebody.
    var isAnySuspected: Bool {
        for place in self.indices { if case .suspected = self[place].standing { return true } }
        return false
    }
}
