import Basis

extension Volume {
    /// One replica as its owner sees it.
    struct Peer: Sendable {
        /// How far the copy there is.
        ///
        ///     down ── greeting ── copying ── settling ── confirming ── current
        ///       ▲        ▲           ▲                       │            │
        ///       │        │           └──── stalled ──────────┴────────────┤
        ///       └─ cut ──┴─ a new connection, from everywhere ────────────┘
        enum Phase: Equatable, Sendable {
            /// No connection.
            case down
            /// `hello` is sent.
            case greeting
            /// Gets writes, and resync goes on.
            case copying
            /// Resync is done: a first flush makes the bulk stable while nobody waits for it.
            case settling(UInt64)
            /// Waited for, and asked for the flush after which it has everything. (Rules V3, V5)
            case confirming(UInt64)
            /// Has everything up to its acknowledgements.
            case current
        }

        /// What the log says of it, and whether anybody waits for it. (Rule V3)
        enum Standing: Equatable, Sendable {
            /// Neither in the set nor waited for.
            case outside
            /// In the waiting set, and with `asked` on its way into the log's: the set's version with which the log was asked to
            /// let it join, and may still do so.
            case waitedFor(asked: UInt64?)
            /// In the log's set, as last told, and so waited for.
            case inSet
        }

        /// Whether the copy there may be overwritten. (Rule V19)
        enum Overwriting: Equatable, Sendable {
            /// As far as its marks say.
            case byMarks
            /// It is ahead of this copy, and is not overwritten before a person says so.
            case heldOff
            /// A person said so.
            case allowed
        }

        /// The copy there.
        struct Copy: Sendable {
            var instance: UInt64 = 0
            var identity: UInt64 = 0
            /// Its map and ours named every difference; if not, its place in the set is undeserved.
            var isKnown = true
        }

        /// One connection to it.
        struct Link: Sendable {
            /// Counts the connections; zero before the first.
            var session: UInt32 = 0
            /// What it acknowledged; counts once the replica is current.
            var received: UInt64 = 0
            var writeSent: UInt64 = 0
            var flushSent: UInt64 = 0
            /// The turn of marks that it has noted. (Rule V19)
            var notedTurn: UInt64 = 0
            /// The turn of this owner that the copy, made equal, has yet to say it has on disk. (Rule V19)
            var turnAsked: UInt64?
            var progressAt = Tick.zero
            var flushProgressAt = Tick.zero
            var lastHeard = Tick.zero
        }

        let node: NodeID
        private(set) var standing: Standing { didSet { Standing.assertStep(from: oldValue, to: self.standing) } }
        /// There is a connection, and nothing was said over it: no lease lets anything be sent. (Rule V24)
        var isGreetingHeld = false
        var phase = Phase.down { didSet { Phase.assertStep(from: oldValue, to: self.phase) } }
        /// When the phase changed between down, up and current.
        private(set) var since = Tick.zero
        var link = Link()
        var copy = Copy()
        var overwriting = Overwriting.byMarks
        /// It has, and has stable, everything up to here. Kept while it is down: what was stable stays so.
        var received: UInt64 = 0
        var stable: UInt64 = 0
        var lastPing = Tick.zero
        var lastAsked = Tick.zero
        var setbacks: UInt64 = 0
        var mayConfirmAt = Tick.zero
        var resync = Resync()

        init(node: NodeID, inSet: Bool) {
            self.node = node
            self.standing = inSet ? .inSet : .outside
        }

        /// In the log's set, as last told.
        var inSet: Bool { self.standing == .inSet }
        /// In the waiting set.
        var isWaitedFor: Bool { self.standing != .outside }
        /// The set's version with which the log was asked to let it join, and may still do so.
        var joinAsked: UInt64? { if case .waitedFor(let asked) = self.standing { asked } else { nil } }
        var session: UInt32 { self.link.session }

        /// It has everything, and would be known for what it is after a power failure of both. (Rule V19)
        var isComplete: Bool { self.phase == .current && self.link.turnAsked == nil }

        var getsWrites: Bool { self.phase != .down && self.phase != .greeting }
        var getsFlushes: Bool {
            switch self.phase {
            case .confirming, .current: true
            case .down, .greeting, .copying, .settling: false
            }
        }

        mutating func changed(at now: Tick) { self.since = now }

        /// The log has it in the set.
        mutating func joined() { self.standing = .inSet }

        /// Nobody waits for it any more.
        mutating func isLetGo() { self.standing = .outside }

        /// It is waited for from here on.
        mutating func beginWaiting() {
            if self.standing == .outside { self.standing = .waitedFor(asked: nil) }
        }

        /// The log is asked to let it join the set of this version.
        mutating func asked(version: UInt64) {
            guard case .waitedFor = self.standing else {
                preconditionFailure("a replica that nobody waits for, or that is in the set, must not join")
            }
            self.standing = .waitedFor(asked: version)
        }

        /// The question of an earlier version can no longer be granted; it is waited for until that is settled.
        mutating func questionEnded() {
            if case .waitedFor = self.standing { self.standing = .waitedFor(asked: nil) }
        }

        mutating func owes(_ sequence: UInt64, at now: Tick) {
            if self.link.writeSent <= self.link.received { self.link.progressAt = now }
            self.link.writeSent = sequence
        }

        mutating func owesFlush(_ sequence: UInt64, at now: Tick) {
            if self.link.flushSent <= self.stable { self.link.flushProgressAt = now }
            self.link.flushSent = sequence
        }

        mutating func acknowledged(at now: Tick) { self.link.progressAt = now }
        mutating func flushed(at now: Tick) { self.link.flushProgressAt = now }

        mutating func beginSession(_ session: UInt32, at now: Tick) {
            self.phase = .greeting
            self.since = now
            self.link = Link(session: session, lastHeard: now)
        }

        /// Why the set should go on without it, if it should.
        func isLost(at now: Tick, _ tuning: Tuning) -> Bool {
            switch self.phase {
            case .down:
                // The first connection of an opening takes a few round trips.
                let patience = self.session == 0 ? tuning.silencePatience : tuning.downPatience
                return now.since(self.since) >= patience
            case .greeting, .copying, .settling, .confirming:
                return self.inSet && !self.copy.isKnown || now.since(self.since) >= tuning.silencePatience
            case .current:
                return now.since(self.link.lastHeard) >= tuning.silencePatience
                    || self.link.writeSent > self.link.received
                        && now.since(self.link.progressAt) >= tuning.silencePatience
                    || self.link.flushSent > self.stable
                        && now.since(self.link.flushProgressAt) >= tuning.flushPatience
                    || self.link.turnAsked != nil && now.since(self.since) >= tuning.flushPatience
            }
        }

        /// A replica that stalled is taken back at once the first time, then ever later.
        mutating func setBack(at now: Tick) {
            self.setbacks += 1
            let delay: UInt64 = self.setbacks < 2 ? 0 : min(60, 1 << min(self.setbacks - 2, 6))
            self.mayConfirmAt = now + .seconds(delay)
        }
    }
}
