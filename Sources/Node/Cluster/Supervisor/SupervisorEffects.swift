import Basis
import Mirror
import Raft
import Resources

/// What happens to a node.
public enum SupervisorInput: Equatable, Sendable {
    /// Time passed.
    case tick
    /// Messages arrived together, in this order; `via` is the node that handed them over.
    case receive([Envelope], via: NodeID)
    /// Everything up to this request is durable.
    case persisted(sequence: UInt64)
    /// A `snapshot` was written beside the log, or could not be. (Rule C4)
    indirect case snapshot(SnapshotWord)
    /// The disk failed for good: hand over what can be handed over.
    case diskFailed
    /// An agent call ended.
    case agentFinished(id: UInt64, AgentOutcome)
    /// A service's process ended by itself.
    indirect case serviceExited(GroupName, ResourceName, Epoch, reason: String)
    /// A `killGroup` ended; false means that something still lives.
    case groupKilled(GroupName, isDead: Bool)
    /// What a kill left of a group; nil when nothing is left any more. Told before `groupKilled`, and when it changes.
    indirect case groupRemains(GroupName, GroupRemains?)
    /// A volume server spoke.
    indirect case volume(VolumeName, VolumeEvent)
    /// A volume server's control connection came up: it is a new process, or the daemon is.
    case volumeConnected(VolumeName)
    /// A volume server died or its control connection broke.
    case volumeDisconnected(VolumeName)
    /// A volume server ended, how, and with its last words.
    indirect case volumeEnded(VolumeName, reason: String)
    /// Somebody asks for something; answered by one `reply` with the same id.
    case client(id: UInt64, ClientRequest)
    /// Boot clock and hardware clock were found to have parted at this moment. (Rule L20) `nonce` was never drawn before: this
    /// machine may have been taken back, so its log goes on under a mark that is made of it; nil where the daemon began only
    /// after that. (Rule E4.3)
    case doubt(since: Tick, nonce: UInt64?)
    /// It is time for another mark of the log: a number that was never drawn before. (Rule E2.3)
    case drawMark(nonce: UInt64)
    /// The guard's last look at the lease, on the boot clock. (Rule L12)
    case guardSeen(Tick)
    /// Since when the guard has been killing what does not die; zero when nothing is left. (Rule L12.3)
    case guardKills(since: Tick)
    /// A process that outlives daemons is there, and what it is; nil when it is there no more. `isRenewable`: what would be started
    /// in its place is the file that the daemon runs.
    indirect case runs(HelperRole, NodePrograms.Helper?, isRenewable: Bool)
    /// A node says that this one has left the cluster, and does not listen to it. (Rule J6)
    indirect case shownOut(by: NodeID, of: Generation?)
    /// Several machines say that they are this node; one, where the log knows already that there are several. `after` is the entry
    /// by which it was one machine as far as the driver knew when it met them. (Rule E5)
    indirect case twins(NodeID, [Twin], after: LogIndex)
    /// A node says that another machine may be this node, or is it, and does not listen to this one. (Rule E5)
    indirect case isTwin(says: NodeID, TwinWord)
    /// A `generation` is on the disk. (Rule R2)
    indirect case generationWritten(GenerationRecord)
    /// An `inspect` of this machine ended.
    indirect case inspected(id: UInt64, for: NodeID, [InspectionAnswer])
}

/// What a process that outlives daemons is for.
public enum HelperRole: Equatable, Sendable {
    /// Ends what a lost lease may no longer run. (Rule L12)
    case guardian
    /// Serves a volume.
    case server(VolumeName)
}

extension SupervisorInput {
    /// One message arrived.
    public static func receive(_ envelope: Envelope, via: NodeID) -> Self { .receive([envelope], via: via) }
}

/// What a client can ask of a node.
public enum ClientRequest: Equatable, Sendable {
    /// Replicate a command, and say what became of it.
    case propose(Command)
    /// Say what holds now: nothing that is older than what anybody was told before. (Rule A2)
    case read
    /// Hand leadership over.
    case transferLeadership(to: NodeID?)
    /// This node shuts down in order; asked again, it says how far that is. (Rule L21)
    case shutDown
    /// Ask a node about its machine; not answered when the node does not.
    case inspect(NodeID, [InspectionQuestion])
    /// Hear how those nodes stand of which this one hears nothing by itself. (Rule J7)
    case gather
    /// Say how this node and those that it hears stand, for a recovery of a lost majority. (Rule R2)
    case survey
    /// Leave a lost majority behind. (Rules R2 to R5)
    indirect case recover(RecoveryOrder)
    /// This node was left behind, and is to come back with an empty log. (Rule R1)
    case rejoin
}

/// What a person signed for: who is dead, who is alive, and what is done with the groups.
public struct RecoveryOrder: Equatable, Sendable {
    /// Random, never drawn before: the recovery's own.
    public var recovery: UInt64
    /// No survivor that was asked follows a generation with a higher number.
    public var above: UInt32
    /// The nodes that are given up, sorted.
    public var dead: [NodeID]
    /// Survivors that have turned away from the present generation already: they are no part of a majority of it.
    public var prepared: [NodeID]
    /// What the person signed.
    public var statement: String
    /// Groups are started although nodes that were only seen to be off could be a majority. (Rule R3)
    public var startsGroups: Bool
    /// All fields.
    public init(
        recovery: UInt64, above: UInt32 = 0, dead: [NodeID], prepared: [NodeID] = [], statement: String,
        startsGroups: Bool
    ) {
        self.recovery = recovery
        self.above = above
        self.prepared = prepared
        self.dead = dead.sorted()
        self.statement = statement
        self.startsGroups = startsGroups
    }
}

/// What a client gets.
public enum ClientReply: Equatable, Sendable {
    /// The command was applied at this index.
    case applied(Outcome, at: LogIndex)
    /// What this node has applied holds, up to this index; with the attributes of then.
    case readable(at: LogIndex, Attributes)
    /// What could be heard of the others is in this node's summaries. (Rule J7)
    case gathered
    /// The request was handed on; its effect shows in `status`.
    case handedOn
    /// What still runs here, as a sentence; nil once nothing does and the lease is given back. (Rule L21)
    case shuttingDown(left: String?)
    /// How those stand that said so in time, sorted by node.
    indirect case surveyed([Surveyed])
    /// What a machine said, in the order of the questions.
    case inspected([InspectionAnswer])
    /// No majority answered in time; the command may still take effect.
    case noQuorum
}

/// A node and how it stands.
public struct Surveyed: Equatable, Sendable {
    /// The node.
    public var node: NodeID
    /// In its own words.
    public var word: SurvivorWord
}

/// What a node must do, in this order. A `send` after a `persist` must not leave before the persist is durable.
public enum SupervisorEffect: Equatable, Sendable {
    /// Make durable, then step `persisted`.
    indirect case persist(PersistRequest)
    /// Make a snapshot durable beside the log, while everything else goes on; answered by `snapshot`. One at a time. (Rule C4)
    case snapshot(SnapshotOrder)
    /// The log was rolled back: keep its directory aside under another name, end this daemon, and start one with a new
    /// directory. Nothing more is done for this one. (Rule E2.2)
    case forget(reason: String)
    /// Make durable what this node follows, then step `generationWritten`; nothing that follows may be done before. (Rule R2)
    indirect case generation(GenerationRecord)
    /// What follows of this step's consensus messages must not leave before every `persist` so far is durable. Says nothing
    /// to a driver that waits for each `persist` in place.
    case barrier
    /// Send towards the envelope's receiver, through this next hop.
    case send(Envelope, to: NodeID)
    /// Publish the lease to guard and volume servers; an end of zero withdraws it. (Rules L1, L12)
    /// `sentAt` is when the renewal was sent that it rests on. (Rule L20)
    case lease(end: Tick, Incarnation, grace: Span, sentAt: Tick)
    /// Write what runs here to the run directory, before anything that follows starts. (Rule L10)
    indirect case facts(Facts)
    /// Call an agent; answered by `agentFinished`.
    indirect case call(AgentCall)
    /// Kill a call.
    case cancel(UInt64)
    /// Kill everything of a group; answered by `groupKilled`.
    case killGroup(GroupName)
    /// An operator answers for what a group's agents could not stop here: forget that they were started. (Rule L11.5)
    case forgetStarted(GroupName)
    /// Tell a volume server.
    indirect case volume(VolumeName, VolumeCommand)
    /// Whoever waits for an attached volume is to fail: its server does not come back.
    case cutVolume(VolumeName)
    /// These volume servers, and no others, should run.
    case volumeServers([VolumeServerSpec])
    /// Start another process of the daemon's own program in its place, so that nobody is without: a guard looks before the old one
    /// goes, and users of a volume wait for the next server. Told by `runs` when it is there. (Rules L12.4, V23)
    case renew(HelperRole)
    /// Who is in the cluster: keep links to these, and show out who has left.
    case peers(PeerRoll)
    /// Answer a client.
    case reply(id: UInt64, ClientReply)
    /// Tell whoever looks after the node; nothing waits for it.
    indirect case note(Note)
    /// Look at this machine for a node; answered by `inspected` with the same id and node.
    indirect case inspect(id: UInt64, for: NodeID, [InspectionQuestion])
}

/// A volume server that should run on this node.
public struct VolumeServerSpec: Equatable, Sendable {
    /// One other replica.
    public struct Peer: Equatable, Sendable {
        /// Its node.
        public var node: NodeID
        /// Where its volume server listens.
        public var address: String
    }
    /// Tells the volume from an earlier one of its name. (Rule V17)
    public var identity: UInt64
    /// The volume with its replicas, as its definition in force says.
    public var policy: VolumePolicy
    /// This node's replica.
    public var replica: VolumePolicy.Replica
    /// The others whose nodes have joined.
    public var peers: [Peer]
    /// Nodes that were given up: their copies are taken as they are, until a person has signed for one. (Rule R6)
    public var formerNodes: [NodeID]
}

/// A peer to keep a link to.
public struct PeerSpec: Equatable, Sendable {
    /// Its id.
    public var node: NodeID
    /// Its name, as in its certificate.
    public var name: String
    /// Where it listens.
    public var address: String
    /// Where it listened before, and may still. (Rule J4)
    public var formerAddress: String?
    /// Which of the machines that say that they are this node is listened to. (Rule E5)
    public var twins = TwinRule()

    /// All fields but `twins`.
    public init(node: NodeID, name: String, address: String, formerAddress: String? = nil) {
        self.node = node
        self.name = name
        self.address = address
        self.formerAddress = formerAddress
    }

    /// A node as the log knows it.
    public init(_ record: ClusterState.NodeRecord) {
        self.init(
            node: record.id, name: record.about.name, address: record.about.address,
            formerAddress: record.formerAddress)
        self.twins = TwinRule(record)
    }
}

/// Who is in the cluster, as the applied log knows it.
public struct PeerRoll: Equatable, Sendable {
    /// The other nodes.
    public var peers: [PeerSpec]
    /// This node; nil before it joined, and once it has left.
    public var own: JoiningNode?
    /// It is surely not older than this daemon's start: before, what the log says of this node may be long over. (Rule L10)
    public var isCurrent = false
    /// So many ids were given: a node with one of them that is not in the roll has left. (Rule J6)
    public var idsGiven: UInt32
    /// Whose log says all this.
    public var generation: Generation

    /// All fields.
    public init(peers: [PeerSpec], own: JoiningNode? = nil, idsGiven: UInt32 = 0, generation: Generation = .first) {
        self.peers = peers
        self.own = own
        self.idsGiven = idsGiven
        self.generation = generation
    }

    /// Whether a node was in the cluster, and is no more. `own` is this node's id.
    public func hasLeft(_ node: NodeID, own: NodeID) -> Bool {
        guard node.rawValue > 0, node.rawValue <= self.idsGiven else { return false }
        return node == own ? self.own == nil : !self.peers.contains { $0.node == node }
    }
}

/// What a restarted daemon must know of the one before it. (Rule L10)
public struct Facts: Equatable, Sendable {
    /// One group that runs here.
    public struct Group: Equatable, Sendable {
        /// The group.
        public var name: GroupName
        /// The epoch it was started under.
        public var epoch: Epoch
        /// It was up completely: only then is it adopted.
        public var isUp: Bool
        /// A digest of the resources as they were started; under another configuration they are not taken for these.
        public var resources: UInt64
        /// All fields.
        public init(name: GroupName, epoch: Epoch, isUp: Bool, resources: UInt64) {
            self.name = name
            self.epoch = epoch
            self.isUp = isUp
            self.resources = resources
        }
    }
    /// The boot that they belong to.
    public var bootID: String
    /// The life that started the groups.
    public var incarnation: Incarnation
    /// The groups, sorted by name.
    public var groups: [Group]
    /// Copies that were taken back with the machine, and whose servers may not have heard it yet. (Rule E4.2)
    public var takenBack: [TakenBack]
    /// All fields.
    public init(bootID: String, incarnation: Incarnation, groups: [Group], takenBack: [TakenBack] = []) {
        self.bootID = bootID
        self.incarnation = incarnation
        self.groups = groups
        self.takenBack = takenBack
    }

    /// One such copy.
    public struct TakenBack: Equatable, Sendable {
        /// The volume.
        public var volume: VolumeName
        /// The mark of its server's start: a server that has heard it shows another one.
        public var mark: UInt64
        /// Both fields.
        public init(volume: VolumeName, mark: UInt64) {
            self.volume = volume
            self.mark = mark
        }
    }
}
