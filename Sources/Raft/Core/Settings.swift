import Basis

extension Consensus {
    /// How fast and how much. The same on all nodes, except while it is being changed.
    public struct Settings: Sendable, Equatable {
        /// Silence after which a follower campaigns: drawn from once to twice this. A leader that has not heard a
        /// majority for this long steps down.
        public var electionTimeout: Span
        /// Where lines are often silent for long, patience grows with what is usual, up to this.
        public var electionTimeoutMaximum: Span
        /// How often a leader speaks when it has nothing to say.
        public var heartbeatInterval: Span
        /// Payload bytes in one append message, at least one entry.
        public var maximumAppendBytes: Int
        /// Append messages on their way to one peer.
        public var maximumInflightAppends: Int
        /// Payload bytes on their way to one peer.
        public var maximumInflightBytes: Int
        /// Payload bytes of entries that are not committed yet; more proposals are refused.
        public var maximumUncommittedBytes: Int
        /// Bytes of snapshot data in one message.
        public var snapshotChunkBytes: Int
        /// Entries kept in memory before a snapshot, so that a slow follower need not take the snapshot.
        public var trailingEntries: UInt64
        /// How many entries a learner may lack when it is made a voter. (Pitfall M6)
        public var promotionLag: UInt64
        /// How many applied entries after the last snapshot make the next one worth its cost; whoever applies them asks.
        public var entriesBetweenSnapshots: UInt64

        /// The defaults suit a WAN of up to about 150 ms round trip.
        public init(
            electionTimeout: Span = .milliseconds(500), heartbeatInterval: Span = .milliseconds(100),
            maximumAppendBytes: Int = 256 << 10, maximumInflightAppends: Int = 256,
            maximumInflightBytes: Int = 8 << 20, maximumUncommittedBytes: Int = 64 << 20,
            snapshotChunkBytes: Int = 256 << 10, trailingEntries: UInt64 = 1000, promotionLag: UInt64 = 1000,
            entriesBetweenSnapshots: UInt64 = 2000
        ) {
            precondition(heartbeatInterval < electionTimeout, "heartbeats must be more frequent than elections")
            precondition(maximumAppendBytes > 0 && maximumInflightAppends > 0, "nothing could ever be sent")
            precondition(maximumInflightBytes > 0 && snapshotChunkBytes > 0, "nothing could ever be sent")
            precondition(entriesBetweenSnapshots > 0, "a snapshot after no entry")
            self.electionTimeout = electionTimeout
            self.electionTimeoutMaximum = electionTimeout * 10
            self.heartbeatInterval = heartbeatInterval
            self.maximumAppendBytes = maximumAppendBytes
            self.maximumInflightAppends = maximumInflightAppends
            self.maximumInflightBytes = maximumInflightBytes
            self.maximumUncommittedBytes = maximumUncommittedBytes
            self.snapshotChunkBytes = snapshotChunkBytes
            self.trailingEntries = trailingEntries
            self.promotionLag = promotionLag
            self.entriesBetweenSnapshots = entriesBetweenSnapshots
        }
    }
}
