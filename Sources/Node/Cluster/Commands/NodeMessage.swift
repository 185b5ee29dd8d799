import Basis
import Raft
import Resources

/// What nodes tell each other. The rare and long ones are indirect, so that an envelope is small; the frequent ones need no
/// memory of their own.
public enum NodeMessage: Equatable, Sendable {
    /// A link check: the peers that the sender hears directly, and those whose link works both ways. (Rule L16)
    case ping(hears: [NodeID], reaches: [NodeID])
    /// A consensus message.
    case raft(Message)
    /// A request for the lease, to every voter.
    case renewal(Renewal)
    /// A voter's answer: the renewal, echoed, with what the asker's clock may have missed. (Rules L2, L19)
    case renewed(Renewal, words: [ElapsedWord])
    /// A voter's refusal, echoed likewise. (Rule L18)
    indirect case notRenewed(Renewal, RenewalRefusal, words: [ElapsedWord])
    /// What a voter hears, to the leader. (Rules L5, L7)
    case voterReport(VoterReport)
    /// A command for the leader to propose.
    indirect case forward(LogCommand)
    /// Asks the leader for an index that is surely recent. (Rule L10)
    case readRequest(id: UInt64)
    /// The leader's answer to `readRequest`.
    case readAnswer(id: UInt64, index: LogIndex)
    /// Asks the leader to hand leadership over.
    case transferRequest(to: NodeID?)
    /// Do you remember the start of your log that I noted last? (Rule E2.1)
    indirect case challenge(NotedMark, nonce: UInt64)
    /// The answer to a challenge: whether this log remembers it, and the entry that let this log's directory in, if one did.
    case echo(nonce: UInt64, remembers: Bool, admittedAt: LogIndex?)
    /// How a node stands, for `status`; nothing is decided from it.
    indirect case summary(NodeSummary)
    /// Asks a node with a vote what it has heard of how the others stand. (Rule J7)
    case askStandings
    /// The answer, sorted by node.
    case standings([Standing])
    /// Questions about the machine of the receiver.
    indirect case inspect(id: UInt64, [InspectionQuestion])
    /// The answers, in the order of the questions.
    indirect case inspected(id: UInt64, [InspectionAnswer])
    /// About generations; of any generation. (Rule R1)
    indirect case recovery(RecoveryMessage)
}

extension NodeMessage {
    /// Whether the message rests on something that must be durable before it leaves: once the log's disk has failed, it is
    /// held back. (Rule L5.2)
    public var restsOnLog: Bool {
        switch self {
        case .raft(let message): if case .timeoutNow = message.body { false } else { true }
        case .voterReport, .renewed: true
        case .ping, .renewal, .notRenewed, .forward, .readRequest, .readAnswer, .transferRequest, .challenge, .echo,
            .summary, .askStandings, .standings, .inspect, .inspected, .recovery:
            false
        }
    }

    /// The first version of the messages that can say it.
    public var firstVersion: UInt32 {
        switch self {
        case .askStandings, .standings: 2
        default: 1
        }
    }
}

/// How one node stands, as another one has heard it. (Rule J7)
public struct Standing: Equatable, Sendable {
    /// The node.
    public var node: NodeID
    /// How long ago it was heard.
    public var age: Span
    /// In its own words.
    public var summary: NodeSummary
    /// All fields.
    public init(node: NodeID, age: Span, summary: NodeSummary) {
        self.node = node
        self.age = age
        self.summary = summary
    }
}

/// What one voter hears of the other nodes.
public struct VoterReport: Equatable, Sendable {
    /// What it hears of one node.
    public struct Line: Equatable, Sendable {
        /// The node.
        public var node: NodeID
        /// The life of it that the voter knows.
        public var incarnation: Incarnation
        /// How long it has been silent.
        public var silence: Span
        /// The suspicion that this voter has in its durable log, when it has one: term and index, because another leader
        /// may use the index of an entry that was cut off again. (Rules L5, L5.2)
        public var suspectedAt: LogMark?
        /// The age of the last answer, meaningful only with `suspectedAt`.
        public var answerAge: Span
        /// The D of that answer. (Rule L9)
        public var answerDuration: Span
    }
    /// One line for each silent or suspected node, sorted by node.
    public var lines: [Line]
    /// Wraps lines.
    public init(lines: [Line]) { self.lines = lines }
}

/// How one node stands, in its own words.
public struct NodeSummary: Equatable, Sendable {
    /// One group that runs here or is on its way.
    public struct Group: Equatable, Sendable {
        /// The group.
        public var name: GroupName
        /// The epoch it runs under.
        public var epoch: Epoch
        /// Where it stands there.
        public var phase: Told<GroupPhase>
        /// Each resource with its state and, when there is one, a reason.
        public var resources: [Resource]
    }
    /// One resource.
    public struct Resource: Equatable, Sendable {
        /// The resource.
        public var name: ResourceName
        /// What it does.
        public var state: Told<GroupRunner.ResourceState>
        /// Why, if there is something to say.
        public var reason: String
        /// How long ago it was last checked.
        public var checkedAge: Span
    }
    /// One volume's replica.
    public struct Volume: Equatable, Sendable {
        /// The volume.
        public var name: VolumeName
        /// What its server is doing.
        public var role: Told<CopyRole>
        /// Its durable epoch.
        public var epoch: Epoch
        /// Bytes that its dirty map marks.
        public var dirtyBytes: UInt64
        /// Totals, as in `VolumeStatus`.
        public var writtenBytes: UInt64
        /// Payload handed to links.
        public var sentBytes: UInt64
        /// The same after compression.
        public var sentCompressedBytes: UInt64
        /// Why there is no copy that counts, if there is none.
        public var problem: String
        /// The other replicas as the owner sees them.
        public var peers: [Peer]
    }
    /// A replica as the owner sees it.
    public struct Peer: Equatable, Sendable {
        /// The node.
        public var node: NodeID
        /// The link is up.
        public var isConnected: Bool
        /// Bytes that resync has still to look at.
        public var resyncRemainingBytes: UInt64
        /// Bytes it had to look at when it began.
        public var resyncTotalBytes: UInt64
    }
    /// What is left of its lease; zero without one.
    public var leaseRemaining: Span
    /// What it has applied.
    public var appliedIndex: LogIndex
    /// The guard looks at the lease often enough.
    public var isGuarded: Bool
    /// Milliseconds of its wall clock since 1970, for `status` to name a clock that is wrong; nothing else looks at it.
    public var wallMilliseconds: UInt64
    /// Its groups.
    public var groups: [Group]
    /// Its volumes.
    public var volumes: [Volume]
    /// What it could not take down of groups that must not run there.
    public var remains: [Remains]
    /// How long its guard has been killing what does not die; zero when nothing is left.
    public var guardKillsFor: Span
    /// What it runs of the product; nil from a build that does not say it, and from who is heard through a third node.
    public var programs: NodePrograms?
    /// The boot of its machine; empty from a build that does not say it, and from who is heard through a third node. (Rule E5)
    public var bootID = ""

    /// What is left of one group.
    public struct Remains: Equatable, Sendable {
        /// The group.
        public var group: GroupName
        /// What, and why.
        public var remains: GroupRemains
    }
}

/// A message with its way through the cluster.
public struct Envelope: Equatable, Sendable {
    /// The node that wrote the message.
    public var from: NodeID
    /// The node that it is for.
    public var to: NodeID
    /// It went, or goes, through a third node; never through two. (Rule L16)
    public var isRelayed: Bool
    /// What the sender follows. (Rule R1)
    public var generation: Generation
    /// The start of the sender's log. (Rule E2)
    public var mark: StartMark
    /// What it says about the messages before it. (Rule E4)
    public var word: HearingWord
    /// The message.
    public var message: NodeMessage
    /// The sender's signature, if it went through a third node; the one who passes it on leaves it as it is.
    public var seal: [UInt8] = []

    /// All fields; not signed.
    public init(
        from: NodeID, to: NodeID, isRelayed: Bool, generation: Generation = .first, mark: StartMark,
        word: HearingWord = .none, message: NodeMessage
    ) {
        self.from = from
        self.to = to
        self.isRelayed = isRelayed
        self.generation = generation
        self.mark = mark
        self.word = word
        self.message = message
    }
}
