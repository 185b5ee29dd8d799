import Basis

/// One message between two replicas of a volume. The shell adds the payload that `body` names.
public struct Frame: Equatable, Sendable {
    /// The sender's epoch: a lower one than the receiver's is answered by `fenced`. (Rule V1)
    public var epoch: Epoch
    /// Numbers the owner's connections: what belongs to an earlier one is dropped.
    public var session: UInt32
    /// What it says.
    public var body: Body
    /// Combines all fields.
    public init(epoch: Epoch, session: UInt32, body: Body) {
        self.epoch = epoch
        self.session = session
        self.body = body
    }

    /// What a zeroing request leaves behind.
    public enum Zeroing: UInt8, Sendable {
        /// Zeros that keep their space.
        case keep = 0
        /// Zeros that may become a hole.
        case trim = 1
    }

    /// What the two ends of a connection know of each other. (Rule E4.2)
    public struct Word: Equatable, Sendable {
        /// The sender's run.
        public var run: RunID
        /// What it says.
        public var word: HearingWord
        /// The sender's copy, and which start of its server this is.
        public var own: Start
        /// The latest start of the receiver's copy that the sender ever heard.
        public var known: Start
        /// All fields.
        public init(run: RunID, word: HearingWord, own: Start = .none, known: Start = .none) {
            self.run = run
            self.word = word
            self.own = own
            self.known = known
        }
        /// It says nothing.
        public static let none = Word(run: .none, word: .none)

        /// One start of the server of a copy.
        public struct Start: Equatable, Sendable {
            /// The copy's identity.
            public var identity: UInt64
            /// Counts the starts of its server.
            public var instance: UInt64
            /// Both fields.
            public init(identity: UInt64, instance: UInt64) {
                self.identity = identity
                self.instance = instance
            }
            /// No start.
            public static let none = Start(identity: 0, instance: 0)
        }
    }

    /// The word of a frame that has one.
    var word: Word? {
        switch self.body {
        case .hello(_, _, let word), .ping(let word), .pong(let word): word
        case .welcome(let welcome): welcome.word
        default: nil
        }
    }

    /// What a replica tells about itself when an owner connects.
    public struct Welcome: Equatable, Sendable {
        /// Its copy's identity.
        public var identity: UInt64
        /// Which start of its server this is. (Rule V6)
        public var instance: UInt64
        /// Bytes per region of `marks`.
        public var regionBytes: UInt64
        /// Its dirty map. (Rule V7)
        public var marks: DirtyMap
        /// The copies for which its map is complete.
        public var covered: [ReplicaIdentity]
        /// False where its disk lost writes.
        public var trusted: Bool
        /// The turn of marks that it noted last, and the last one whose marks it cleared. (Rule V19)
        public var notedTurn: UInt64
        /// See `notedTurn`.
        public var clearedTurn: UInt64
        /// What it knows of its owner. (Rule E4.2)
        public var word: Word
        /// All fields.
        public init(
            identity: UInt64, instance: UInt64, regionBytes: UInt64, marks: DirtyMap, covered: [ReplicaIdentity],
            trusted: Bool, notedTurn: UInt64 = 0, clearedTurn: UInt64 = 0, word: Word = .none
        ) {
            self.identity = identity
            self.instance = instance
            self.regionBytes = regionBytes
            self.marks = marks
            self.covered = covered
            self.trusted = trusted
            self.notedTurn = notedTurn
            self.clearedTurn = clearedTurn
            self.word = word
        }
    }

    /// The kinds of frame. The first group travels from owner to replica, the second back. The rare and long ones are indirect, so
    /// that a frame is small.
    public enum Body: Equatable, Sendable {
        /// The first frame of a connection.
        indirect case hello(owner: ReplicaIdentity, sizeBytes: UInt64, word: Word = .none)
        /// Payload: the bytes of `extent`.
        case write(sequence: UInt64, extent: Extent)
        /// Zeros without a payload.
        case zero(sequence: UInt64, extent: Extent, zeroing: Zeroing)
        /// Make everything before this frame stable and answer `stable(sequence)`.
        case flush(sequence: UInt64)
        /// Answer `sums` of this chunk.
        case compare(chunk: Extent)
        /// Payload: the blocks of `chunk` whose bit in `mask` is set, in order. A resync write.
        case blocks(sequence: UInt64, chunk: Extent, mask: UInt64)
        /// Everything up to `sequence` is stable on all of `covered`, and they have noted `turn`: clear those marks. With
        /// sequence 0 nothing is cleared, `covered` is added to what was covered, and the copy is as good as one that has
        /// noted `turn`. (Rule V19)
        case clear(sequence: UInt64, covered: [ReplicaIdentity], turn: UInt64)
        /// Note this turn of marks durably, and answer `noted`. (Rule V19)
        case note(turn: UInt64)
        /// Answer `pong`.
        indirect case ping(Word = .none)

        /// The first answer of a connection.
        indirect case welcome(Welcome)
        /// Everything up to `sequence` is written to the backing, perhaps not stable.
        case received(sequence: UInt64)
        /// Everything up to `sequence` is stable.
        case stable(sequence: UInt64)
        /// Payload: one 64-bit digest for each block of `chunk`.
        case sums(chunk: Extent)
        /// The sender's epoch is lower than this one.
        case fenced(Epoch)
        /// Answers `ping`.
        indirect case pong(Word = .none)
        /// An operator asked this replica to be compared as a whole.
        case wantsResync
        /// Answers `note`, once the turn is on disk.
        case noted(turn: UInt64)
    }
}
