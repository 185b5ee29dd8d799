import Basis
import Mirror
import Raft
import Resources

/// What is replicated: each case is one kind of log entry. Applied by `ClusterState.apply`, which may refuse it.
public indirect enum Command: Equatable, Sendable {
    /// The first entry of a cluster, written by `init`. (Rule B1)
    case bootstrap(clusterID: UInt64, clusterName: String, node: JoiningNode)
    /// A node that presented a valid token; it gets the next id.
    case addNode(JoiningNode)
    /// A node starts a life: first join, return after a reboot (rule E3), or restart of its daemon.
    case admit(NodeID, bootID: String, mark: StartMark)
    /// Voters that have this entry answer the node's renewals no more. (Rule L4)
    case suspect(NodeID, Incarnation)
    /// Lifts an open suspicion. (Rule L4)
    case trust(NodeID, Incarnation, suspectedAt: LogIndex)
    /// The node's lease has certainly ended. (Rule L6)
    case lost(NodeID, Incarnation, suspectedAt: LogIndex)
    /// A fence device confirmed that the node is off; counts only if fencing began after the suspicion. (Rule L14)
    case fenced(NodeID, Incarnation, suspectedAt: LogIndex, fencingBeganAfter: LogIndex)
    /// A new policy, if the current one is still that of `expectedIndex`.
    case configure(ClusterPolicy, text: String, expectedIndex: LogIndex)
    /// A member found nothing of the group running. `since` names the search, so that an answer to an earlier one does not
    /// count. (Rule B2)
    case absent(GroupName, NodeID, Incarnation, since: LogIndex)
    /// A member found something of the group running, or could not find out. (Rule B2)
    case found(GroupName, ClusterState.Finding, Incarnation, since: LogIndex)
    /// Make the node the owner; the entry's index becomes the epoch.
    case assign(GroupName, NodeID, Incarnation, replacing: Epoch, isTakeover: Bool, reason: String)
    /// Tell the owner to stop the group.
    case release(GroupName, Epoch, target: NodeID?, reason: String)
    /// Everything of the group is down on its owner. (Rule L11)
    case stopped(GroupName, Epoch, failure: GroupFailure?)
    /// Every resource of the group runs.
    case started(GroupName, Epoch)
    /// The owner has stopped what a changed configuration no longer has. `version` is that of its holding. (Rule B5)
    case dropped(GroupName, Epoch, version: UInt64)
    /// The owner goes on without a replica. (Rules V3, V4)
    case leaves(VolumeName, Epoch, version: UInt64, NodeID)
    /// A replica holds everything again; `copy` is its copy's identity, 0 where the log knows none. (Rules V3, V4, V5, V18)
    case joins(VolumeName, Epoch, version: UInt64, NodeID, copy: UInt64 = 0)
    /// The new owner has made replicas of the last set equal to its own copy and has served no client yet; `copies` are
    /// their identities, in the order of `inSync`. (Rules V4, V7, V18)
    case opens(VolumeName, Epoch, version: UInt64, inSync: [NodeID], copies: [UInt64] = [])
    /// A node has found this copy; `volume` is the volume's identity. Where it is not the one that the log knows, `against`
    /// is what the log knew before the copy was asked. (Rule V18)
    /// `boot`: the boot of the machine in which it was looked at.
    case copy(
        VolumeName, volume: UInt64, NodeID, CopyMark, capacityBytes: UInt64, against: CopyKnowledge? = nil,
        boot: String = "")
    /// A node has not found the copy that the log knows there. (Rule V20)
    case lacks(VolumeName, volume: UInt64, NodeID, copy: UInt64)
    /// The new owner found its copy behind another of the last set, before it served anybody. (Rule V19)
    case yields(VolumeName, Epoch, version: UInt64)
    /// An operator wants every copy compared with the owner's.
    case compare(VolumeName)
    /// An operator allows that the next start repairs the volume's file system. (Rule V22)
    case allowRepair(VolumeName, Epoch, statement: String)
    /// An operator wants the group to run, or not. Starting also forgives failures and unparks.
    case want(GroupName, isRunning: Bool)
    /// An operator wants the group on a node.
    case move(GroupName, to: NodeID)
    /// An operator wants the node empty, or usable again.
    case drain(NodeID, isDrained: Bool)
    /// An operator wants something about a node to be different. (Rules J1, J4, J5)
    case setNode(NodeID, NodeChange)
    /// An operator wants a node to leave the cluster for good, or takes that back. (Rule J2)
    case retire(NodeID, isRetiring: Bool)
    /// Another machine takes a lost node's place and name, under an id of its own. (Rule J3)
    case replaceNode(NodeID, JoiningNode)
    /// A node that is to leave has no vote, no group and no lease any more: it is no node from here on. (Rule J2)
    case expel(NodeID, Incarnation)
    /// The majority was lost, and these go on without it: the first entry of a new generation. (Rule R5)
    case recovered(RecoveryPlan)
    /// An operator raises the feature level by one; these nodes were heard to be able to do it. (Rule U1)
    case raise(FeatureLevel, counting: [NodeID])
    /// An operator expects this life of a node to pause from now on, for so long at most; zero: no longer. (Rule L22)
    case expectPause(NodeID, Incarnation, Span)
    /// An operator wants another authority in the place of the present one, or something else about that. (Rule I2)
    case changeAuthority(Authorities.Change)
    /// A node says which certificate it has.
    case certified(NodeID, CertificateRecord)
    /// Several machines say that they are this node; `after` is the entry by which it was one machine, as far as the one who met
    /// them knows. (Rule E5)
    case duplicated(NodeID, [Twin], after: LogIndex)
    /// An operator says which of them it is: the one of this boot. (Rule E5)
    case original(NodeID, bootID: String)
    /// An operator writes something among the events, about a node or about no one node.
    case note(String, about: NodeID?)
    /// A node shuts down in order, or takes that back: its groups move or stop before its daemon ends. Ends with its life.
    /// (Rule L21)
    case depart(NodeID, Incarnation, isDeparting: Bool)
    /// A node goes on under another mark of its log, within this life of it. (Rule E4.3)
    case remark(NodeID, Incarnation, mark: StartMark)
    /// The planner gives the group up. It saw the state as of `seenAt`: what an operator asked for since counts more.
    case park(GroupName, Epoch, seenAt: LogIndex, reason: String)
    /// The failure on this node is as long ago as the group's window for restarts: it bans the node no longer.
    case forgive(GroupName, NodeID, since: UInt64)
    /// The owner restarted a resource in place, and what stands on it; or, without one, the whole group after its lease had
    /// ended. For the events alone.
    case restarted(GroupName, Epoch, ResourceName?, reason: String)
    /// An operator signs that the volume may start from this replica although writes may be missing. Epoch and version
    /// are those that the operator was shown. (Rule V8)
    case acceptLoss(VolumeName, Epoch, version: UInt64, NodeID, statement: String)
    /// An operator signs that nothing of the group runs on these members, which have not reported it. (Rule B2)
    case declareAbsent(GroupName, nodes: [NodeID], since: LogIndex, statement: String)
    /// A node could not take down what is left of a group on it; nil once nothing is. (Rules L11.5, L12.3)
    case remains(GroupName, NodeID, Incarnation, GroupRemains?)
    /// An operator signs that nothing of the group is left on a node that says so. (Rule L11.5)
    case confirmStopped(GroupName, NodeID, statement: String)
    /// Somebody leaves a word in the cluster, if what is there is what was expected. (Rule A1)
    case putAttribute(
        AttributeKey, value: String, lifetime: AttributeLifetime, expecting: AttributeExpectation? = nil)
    /// Somebody takes it away, likewise.
    case deleteAttribute(AttributeKey, expecting: AttributeExpectation? = nil)
}

/// Why an owner gave a group up.
public struct GroupFailure: Equatable, Sendable {
    /// The resource that failed.
    public var resource: ResourceName
    /// What happened, as a clause after the node's name: `failed to start db: …`.
    public var reason: String
    /// It must not be tried anywhere until the configuration changes.
    public var isFatal: Bool
    /// All fields.
    public init(resource: ResourceName, reason: String, isFatal: Bool) {
        self.resource = resource
        self.reason = ForeignText.line(reason, limit: 600)
        self.isFatal = isFatal
    }
}

/// A command with its origin and the leader's stamps: the payload of a log entry.
public struct LogCommand: Equatable, Sendable {
    /// The node that asked for it.
    public var origin: NodeID
    /// Tells that node's lives of the daemon apart.
    public var nonce: UInt64
    /// Numbers that life's requests.
    public var sequence: UInt64
    /// Milliseconds of cluster time: advances with the leaders' boot clocks and never goes back. Windows use it.
    public var clusterMilliseconds: UInt64
    /// Milliseconds of the leader's wall clock, for people.
    public var wallMilliseconds: UInt64
    /// What to do.
    public var command: Command

    /// All fields.
    public init(
        origin: NodeID, nonce: UInt64, sequence: UInt64, clusterMilliseconds: UInt64, wallMilliseconds: UInt64,
        command: Command
    ) {
        self.origin = origin
        self.nonce = nonce
        self.sequence = sequence
        self.clusterMilliseconds = clusterMilliseconds
        self.wallMilliseconds = wallMilliseconds
        self.command = command
    }
}

/// What the log knows of a copy when its server is asked: only a word that was spoken afterwards tells that the copy is
/// older. (Rule V18)
public struct CopyKnowledge: Hashable, Sendable {
    /// The mark of the start that was noted last.
    public var mark: UInt64
    /// An epoch that the copy surely has accepted.
    public var epoch: Epoch
    /// Both fields.
    public init(mark: UInt64, epoch: Epoch) {
        self.mark = mark
        self.epoch = epoch
    }
}
