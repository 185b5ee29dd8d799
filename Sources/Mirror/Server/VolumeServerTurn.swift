import Basis
import Host
import Mirror
import Synchronization

extension VolumeServer {
    /// What changes from one step to the next.
    struct State {
        var volume: Volume
        var effects = Volume.Effects()
        /// The lease that the volume was last told.
        var leaseEnd = Tick.zero
        var leaseIncarnation = Incarnation.none
        var requests = RequestTable()
        /// Payloads of received frames whose marks are not on disk yet, by sequence.
        var receivedPayloads: [UInt64: [UInt8]] = [:]
        var outbound: [NodeID: LinkConnection] = [:]
        var inbound: [NodeID: LinkConnection] = [:]
        var dialling: [NodeID: Int] = [:]
        var diallers = 0
        /// Diallers for which the system had no thread.
        var undialled: [NodeID] = []
        var toDeliver: [any BlockCompletionSink] = []
        var isStopping = false
        var exportGeneration = 0
        /// Where the other replicas listen.
        var peers: [VolumeServerPeer]
        /// Readers that wait for a lease.
        var readers = 0
        /// The newest write that is carried out and not told to the volume; 0 for none.
        var lastWritten: UInt64 = 0
        /// Totals of the connections that ended.
        var sentBytes: UInt64 = 0
        var sentCompressedBytes: UInt64 = 0

        init(volume: Volume, peers: [VolumeServerPeer]) {
            self.volume = volume
            self.peers = peers
        }

        mutating func step(_ input: Volume.Input, at now: Tick) {
            self.volume.step(input, at: now, into: &self.effects)
        }

        /// Keeps the totals of a connection that ended.
        mutating func count(_ connection: LinkConnection) {
            self.sentBytes += connection.sentBytes.load(ordering: .relaxed)
            self.sentCompressedBytes += connection.sentCompressedBytes.load(ordering: .relaxed)
        }

        func withCounters(_ status: VolumeStatus) -> VolumeStatus {
            var status = status
            status.sentBytes = self.sentBytes
            status.sentCompressedBytes = self.sentCompressedBytes
            for connection in Array(self.outbound.values) + Array(self.inbound.values) {
                status.sentBytes += connection.sentBytes.load(ordering: .relaxed)
                status.sentCompressedBytes += connection.sentCompressedBytes.load(ordering: .relaxed)
            }
            return status
        }
    }

    /// What an input brings along, for the length of its step.
    struct Carried {
        var bytes = UnsafeRawBufferPointer(start: nil, count: 0)
        /// The write of a peer whose payload it is, until that is carried out.
        var sequence: UInt64?
        /// The client's request whose payload it is.
        var request: UInt64?
        /// The request's payload was written in this step: no copy is needed.
        var isRequestWritten = false
        /// More frames were received with this one: one acknowledgement at the end does for all.
        var hasMoreBehind = false
    }

    /// One thread's turn with the volume: it has the lock, steps the core and carries out what follows. A turn ends by `finish`,
    /// and by nothing else: `turn` wants back what `finish` alone can give.
    struct Turn: ~Copyable {
        let server: VolumeServer
        private var hold: Locked<State>.Hold

        fileprivate init(_ server: VolumeServer, _ hold: consuming Locked<State>.Hold) {
            self.server = server
            self.hold = hold
        }

        /// What the lock guards.
        var state: State {
            _read { yield self.hold.value }
            _modify { yield &self.hold.value }
        }

        /// Has every reader that waits look again.
        func wakeReaders() { self.hold.wakeAll() }

        /// That a turn was finished.
        struct Finished: ~Copyable {
            fileprivate init() {}
        }

        /// Leaves the lock, then lets clients see their answers.
        consuming func finish() -> Finished {
            let answering = self.state.isStopping ? .none : self.state.volume.answeringIncarnation ?? .none
            let readable = self.server.readable.load(ordering: .relaxed)
            if readable != answering.rawValue {
                self.server.readable.store(answering.rawValue, ordering: .releasing)
                self.wakeReaders()
            } else if self.state.readers > 0 {
                // A doubt may have come and gone between two steps. (Rule L20)
                self.wakeReaders()
            }
            guard !self.state.toDeliver.isEmpty else { return Finished() }
            let sinks = self.state.toDeliver
            self.state.toDeliver.removeAll(keepingCapacity: true)
            self.hold.leave()
            for sink in sinks { sink.deliver() }
            return Finished()
        }
    }

    /// Waits for the lock and runs `body`, which finishes the turn.
    func turn(_ body: (consuming Turn) -> Turn.Finished) {
        _ = body(Turn(self, self.state.hold()))
    }

    /// A turn with one input.
    func step(
        _ input: Volume.Input, carrying bytes: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) {
        self.turn { (turn: consuming Turn) in
            var carried = Carried(bytes: bytes)
            turn.step(input, &carried)
            return turn.finish()
        }
    }
}
