import Basis

extension Volume {
    /// Which end opened a connection: an owner dials its replicas.
    public enum Direction: Sendable {
        /// This node dialled, as owner.
        case outbound
        /// The other node dialled.
        case inbound
    }

    /// What a write does to its extent.
    public enum WriteKind: Equatable, Sendable {
        /// Stores the request's payload.
        case data
        /// Stores zeros.
        case zero(Frame.Zeroing)
    }

    /// What happened.
    public enum Input: Sendable {
        /// The daemon said so.
        case command(VolumeCommand)
        /// The lease file changed. (Rule L12)
        case lease(end: Tick, incarnation: Incarnation)
        /// A client's write. `id` names it, and its payload, until the reply. `durable` is NBD's FUA.
        case write(id: UInt64, extent: Extent, kind: WriteKind, durable: Bool)
        /// A client's flush.
        case flush(id: UInt64)
        /// Every local write up to and including `sequence` (of `writeLocal`, or of `applyReceived` of the present
        /// session) is done.
        case localWritten(sequence: UInt64)
        /// `syncLocal(token)` is done: every write whose effect came before it is stable.
        case localSynced(token: UInt64)
        /// `persist` with this token is stable.
        case metadataSynced(token: UInt64)
        /// The backing or the metadata failed a read, write or sync.
        case localFailed(reason: String)
        /// A connection came up. The shell reports the end of an older one, same peer and direction, first.
        case linkUp(peer: NodeID, direction: Direction)
        /// A connection ended; no frame of it arrives any more.
        case linkDown(peer: NodeID, direction: Direction)
        /// A frame arrived; its payload waits in the shell under its sequence.
        case frame(from: NodeID, Frame)
        /// `digest` is done; the shell holds the digests for the `sums` frame that this step sends.
        case digested(chunk: Extent, peer: NodeID, session: UInt32)
        /// `readChunk` is done; `differing` has a bit for each block that is not equal. The shell holds the blocks for
        /// the `blocks` frame that this step may send.
        case chunkRead(peer: NodeID, session: UInt32, chunk: Extent, ticket: UInt64, differing: UInt64)
        /// Time passed. Wanted about every 100 ms.
        case tick
    }

    /// Where the payload of an outgoing frame is.
    public enum Payload: Equatable, Sendable {
        /// There is none.
        case none
        /// The client request with this id.
        case request(UInt64)
        /// Blocks or digests that came with the input of this step.
        case input
    }

    /// How a client's request ended.
    public enum Reply: Equatable, Sendable {
        /// As asked.
        case done
        /// With an I/O error.
        case failed
    }

    /// What to do, in this order. Writes and reads of the backing take effect in the order of their effects.
    public enum Effect: Sendable {
        /// Write a client's data here; then `localWritten`.
        case writeLocal(id: UInt64, sequence: UInt64, extent: Extent, kind: WriteKind)
        /// Write what a `write`, `zero` or `blocks` frame of this session brought; then `localWritten`. A `mask` other
        /// than zero names the blocks of `extent` that the payload holds.
        case applyReceived(sequence: UInt64, extent: Extent, kind: WriteKind, mask: UInt64)
        /// Keep the payload of the frame of this step: it is applied in a later one. Of no other frame may any be kept, for
        /// one of an earlier session may have the same number.
        case holdReceived(sequence: UInt64)
        /// Forget the payloads that are kept.
        case dropReceived
        /// Make every write before this effect stable; then `localSynced`.
        case syncLocal(token: UInt64)
        /// Store the metadata durably; then `metadataSynced`.
        indirect case persist(VolumeMetadata, token: UInt64)
        /// Send a frame: `hello` to `ping` on the outbound connection, the others on the inbound one.
        case send(to: NodeID, frame: Frame, payload: Payload)
        /// Read the chunk, take its digests, then `digested`.
        case digest(chunk: Extent, peer: NodeID, session: UInt32)
        /// Read the chunk, find the blocks that differ from the digests of the `sums` frame of this step (all differ if
        /// this step had none), then `chunkRead` with the same ticket. After an `exclusive` read no other step may come
        /// before its `chunkRead`.
        case readChunk(peer: NodeID, session: UInt32, chunk: Extent, ticket: UInt64, exclusive: Bool)
        /// Answer a client.
        case reply(id: UInt64, Reply)
        /// Tell the daemon.
        case event(VolumeEvent)
        /// Serve clients.
        case startExport(Epoch)
        /// Stop serving clients and drop their connections.
        case stopExport
        /// Keep a connection to this peer, dialling again whenever it ends.
        case dial(NodeID)
        /// Close the outbound connection to this peer and stop dialling.
        case stopDialling(NodeID)
        /// Close this connection; the dialler may dial again.
        case hangUp(NodeID, Direction)
    }

    /// A reused buffer of effects.
    public struct Effects: Sendable {
        /// In the order in which they must be carried out.
        public private(set) var list: [Effect] = []
        /// Empty.
        public init() { self.list.reserveCapacity(16) }
        /// Empties the buffer and keeps its memory.
        public mutating func removeAll() { self.list.drop() }
        /// Hands over each in its order, without a copy, until `body` says false; the buffer is empty afterwards.
        public mutating func takeAll(_ body: (consuming Effect) -> Bool) {
            self.list.turn()
            while let effect = self.list.popLast(), body(effect) {}
            self.list.drop()
        }
        mutating func append(_ effect: Effect) { self.list.append(effect) }
        mutating func event(_ event: VolumeEvent) { self.list.append(.event(event)) }
        mutating func send(_ body: Frame.Body, to peer: NodeID, epoch: Epoch, session: UInt32, payload: Payload = .none)
        {
            self.list.append(
                .send(to: peer, frame: Frame(epoch: epoch, session: session, body: body), payload: payload))
        }
    }

    /// What a volume is, the same for its whole life.
    public struct Configuration: Sendable {
        /// This node.
        public var node: NodeID
        /// The other replicas.
        public var peers: [NodeID]
        /// A positive multiple of 4096.
        public var sizeBytes: UInt64
        /// How it behaves in time.
        public var tuning: Tuning
        /// All fields.
        public init(node: NodeID, peers: [NodeID], sizeBytes: UInt64, tuning: Tuning = Tuning()) {
            self.node = node
            self.peers = peers.sorted()
            self.sizeBytes = sizeBytes
            self.tuning = tuning
        }
    }

    /// Times and amounts; the defaults suit a LAN and a near WAN.
    public struct Tuning: Sendable {
        /// A waited-for replica whose link is down for so long is asked to leave.
        public var downPatience: Span = .milliseconds(300)
        /// The same for one that is silent, or does not acknowledge writes.
        public var silencePatience: Span = .seconds(1)
        /// The same for one that does not finish a flush.
        public var flushPatience: Span = .seconds(3)
        /// After a promotion, how long clients wait at most for replicas of the last set to become equal, and as long
        /// again for the log to take them back: what is not done by then goes on behind the clients' backs. (Rule V7)
        public var reconcilePatience: Span = .seconds(1)
        /// How much of that is for a replica that has not answered the first frame yet.
        public var reconcileGreeting: Span = .milliseconds(400)
        /// How often `wantsLeave` and `wantsJoin` are repeated.
        public var repeatInterval: Span = .milliseconds(500)
        /// How often an idle link is probed.
        public var pingInterval: Span = .milliseconds(250)
        /// How long a region keeps its mark after it became stable everywhere.
        public var markRetention: Span = .seconds(5)
        /// For each written region, up to 16, how many regions after the write are marked with it, so that a sequential
        /// writer seldom waits.
        public var markAhead: Int = 7
        /// Chunks of resync in flight for each replica, and the same while clients wait.
        public var resyncWindow: Int = 16
        /// See `resyncWindow`.
        public var resyncWindowBusy: Int = 2
        /// A cap for resync in bytes a second; zero means none.
        public var resyncBytesPerSecond: UInt64 = 0
        /// The defaults.
        public init() {}
    }
}
