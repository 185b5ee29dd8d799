import Basis
import Raft

/// A node's request to a voter: "let me run for D from this moment on". (Rule L2)
public struct Renewal: Equatable, Sendable {
    /// Who asks.
    public var node: NodeID
    /// Which life of it.
    public var incarnation: Incarnation
    /// The boot id of that life.
    public var bootID: String
    /// Random, drawn once per life of the daemon, so that answers to an earlier daemon are recognised.
    public var nonce: UInt64
    /// When it was sent, on the asker's boot clock.
    public var sentAt: Tick
    /// The D that the lease will be computed with. (Rule L9)
    public var duration: Span
    /// The membership entry it was sent under. (Rule L8)
    public var membershipIndex: LogIndex

    func encode(into writer: inout ByteWriter) {
        writer.node(self.node)
        writer.uint64(self.incarnation.rawValue)
        writer.string(self.bootID)
        writer.uint64(self.nonce)
        writer.uint64(self.sentAt.nanoseconds)
        writer.span(self.duration)
        writer.uint64(self.membershipIndex.rawValue)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Renewal {
        Renewal(
            node: try reader.node(), incarnation: Incarnation(try reader.uint64()), bootID: try reader.string(),
            nonce: try reader.uint64(), sentAt: Tick(nanoseconds: try reader.uint64()),
            duration: try reader.span(), membershipIndex: LogIndex(try reader.uint64()))
    }
}

/// Why a voter does not answer a renewal. (Rule L18)
public enum RenewalRefusal: UInt8, Sendable {
    /// Its log suspects the node. (Rule L4)
    case suspected = 1
    /// Its applied state says that this life's lease has certainly ended.
    case lost = 2
    /// Its applied state knows a later life.
    case laterLife = 3
    /// The renewal was sent under an older membership. (Rule L8)
    case olderMembership = 4
    /// Its applied state does not know this life yet.
    case notAdmitted = 5

    /// The life that asked is over: whoever hears that has no lease from that instant.
    var endsLife: Bool { self == .lost || self == .laterLife }
}

/// "I answered your renewal sent at `sentAt`, `elapsed` ago": so much time has passed since then, whatever the asker's clock
/// says. A machine that a hypervisor pauses sees the pause in no clock of its own. (Rule L19)
public struct ElapsedWord: Equatable, Sendable {
    /// When the renewal was sent, on the asker's boot clock.
    public var sentAt: Tick
    /// How long ago it was answered, on the voter's.
    public var elapsed: Span

    func encode(into writer: inout ByteWriter) {
        writer.uint64(self.sentAt.nanoseconds)
        writer.span(self.elapsed)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> ElapsedWord {
        ElapsedWord(sentAt: Tick(nanoseconds: try reader.uint64()), elapsed: try reader.span())
    }
}

/// The side that runs groups: sends renewals, collects answers, knows until when it may run. (Rules L1 to L3)
public struct LeaseHolder: Equatable, Sendable {
    struct Sent: Equatable, Sendable {
        var at: Tick
        var duration: Span
        var membershipIndex: LogIndex
        var answeredBy: [NodeID]
        /// So much more time has passed since it was sent than this node's clock says. (Rule L19)
        var hidden = Span.zero

        /// With the life, the boot and the nonce, which are the holder's own, it is all of the renewal.
        func isEchoed(by renewal: Renewal) -> Bool {
            renewal.sentAt == self.at && renewal.duration == self.duration
                && renewal.membershipIndex == self.membershipIndex
        }
    }

    /// This life of the daemon.
    public let nonce: UInt64
    private let node: NodeID
    private let bootID: String
    /// Renewals that may still be answered, oldest first.
    var sent: [Sent] = []
    /// An empty list for the next renewal's answers, whose memory is there already.
    private var spare: [NodeID] = []
    private var nextRenewal = Tick.zero
    /// The end of the lease; `zero` when there is none.
    public private(set) var end = Tick.zero
    /// When the renewal was sent that the lease rests on.
    public private(set) var sentAt = Tick.zero
    /// The life that the lease belongs to.
    public private(set) var incarnation = Incarnation.none
    /// The end of the lease by this node's clock alone.
    var ageless = Tick.zero
    /// The latest life that a voter has said is over. (Rule L18)
    var over = Incarnation.none

    /// No lease yet.
    public init(node: NodeID, bootID: String, nonce: UInt64) {
        self.node = node
        self.bootID = bootID
        self.nonce = nonce
    }

    /// Whether this node may run groups of `incarnation`.
    public func isValid(for incarnation: Incarnation, at now: Tick) -> Bool {
        incarnation != .none && incarnation == self.incarnation && now < self.end
    }

    /// The next moment at which something is due.
    public var deadline: Tick { self.nextRenewal }

    /// A renewal to send to every voter, when one is due, or will be within `slack`.
    public mutating func renewalDue(
        incarnation: Incarnation, duration: Span, interval: Span, membershipIndex: LogIndex, at now: Tick,
        slack: Span = .zero
    ) -> Renewal? {
        guard incarnation > self.over, now + slack >= self.nextRenewal else { return nil }
        if incarnation != self.incarnation {
            self.incarnation = incarnation
            self.end = .zero
            self.sent.removeAll()
        }
        self.nextRenewal = now + interval
        let renewal = Renewal(
            node: self.node, incarnation: incarnation, bootID: self.bootID, nonce: self.nonce, sentAt: now,
            duration: duration, membershipIndex: membershipIndex)
        // Answers to renewals whose lease would have ended by now are useless.
        if let first = self.sent.first, first.at + first.duration <= now {
            self.sent.removeAll { $0.at + $0.duration <= now }
        }
        self.sent.append(Sent(at: now, duration: duration, membershipIndex: membershipIndex, answeredBy: self.spare))
        self.spare = []
        return renewal
    }

    /// Takes a voter's answer, which echoes the renewal. True when it extended the lease.
    public mutating func answered(
        _ renewal: Renewal, by voter: NodeID, membership: Membership, membershipIndex: LogIndex
    ) -> Bool {
        // Rule L2: only an echo of what this very process sent counts. Rule L8: under the membership it was sent in.
        guard renewal.nonce == self.nonce, renewal.node == self.node, renewal.bootID == self.bootID,
            renewal.incarnation == self.incarnation, renewal.membershipIndex == membershipIndex,
            let index = self.sent.firstIndex(where: { $0.isEchoed(by: renewal) })
        else { return false }
        if !self.sent[index].answeredBy.contains(voter) { self.sent[index].answeredBy.append(voter) }
        guard membership.hasMajority(where: { self.sent[index].answeredBy.contains($0) }) else { return false }
        // Rule L1: send time + D, never receipt time + D; less what the clock did not count. (Rule L19)
        let length = renewal.duration.less(self.sent[index].hidden)
        let end = renewal.sentAt + length
        swap(&self.spare, &self.sent[index].answeredBy)
        self.spare.drop()
        if index + 1 == self.sent.count { self.sent.drop() } else { self.sent.removeFirst(index + 1) }
        guard end > self.end else { return false }
        self.end = end
        self.sentAt = renewal.sentAt
        self.ageless = renewal.sentAt + renewal.duration
        return true
    }

    /// Takes a voter's refusal, which echoes the renewal. True when the lease is over because of it. (Rule L18)
    public mutating func refused(_ renewal: Renewal, _ reason: RenewalRefusal) -> Bool {
        guard reason.endsLife, renewal.node == self.node, renewal.bootID == self.bootID,
            renewal.incarnation == self.incarnation
        else { return false }
        self.over = max(self.over, renewal.incarnation)
        self.drop()
        return true
    }

    /// Gives the lease of this life back, for good: nothing of it runs any more, and nothing will. (Rule L21)
    public mutating func resign(_ incarnation: Incarnation) {
        self.over = max(self.over, incarnation)
        self.drop()
    }

    /// Takes what a voter says about elapsed time. It ages the lease, and every renewal still being collected, that were
    /// sent by then; it lengthens nothing. True when the lease got shorter. (Rule L19)
    public mutating func heard(_ word: ElapsedWord, partsPerMillion: UInt64, at now: Tick) -> Bool {
        let slower = Span(
            nanoseconds: word.elapsed.nanoseconds / 1_000_000 * (1_000_000 - min(1_000_000, 3 * partsPerMillion)))
        let hidden = slower.less(now.since(word.sentAt))
        guard hidden > .zero, word.sentAt <= now else { return false }
        for index in self.sent.indices where self.sent[index].at <= word.sentAt {
            self.sent[index].hidden = max(self.sent[index].hidden, hidden)
        }
        guard self.sentAt <= word.sentAt, self.end != .zero else { return false }
        let end = Tick(nanoseconds: self.ageless.nanoseconds - min(self.ageless.nanoseconds, hidden.nanoseconds))
        guard end < self.end else { return false }
        self.end = end
        return true
    }

    /// Gives the lease up, after everything was stopped because this life was declared lost.
    mutating func drop() {
        self.end = .zero
        self.incarnation = .none
        self.sent.removeAll()
    }

    /// Takes over a lease that an earlier life of the daemon wrote down for the same boot. (Rule L10)
    public mutating func adopt(end: Tick, incarnation: Incarnation) {
        self.end = end
        self.ageless = end
        self.sentAt = .zero
        self.incarnation = incarnation
    }
}

extension Span {
    /// The difference; zero if `other` is longer.
    func less(_ other: Span) -> Span {
        Span(nanoseconds: self.nanoseconds - min(self.nanoseconds, other.nanoseconds))
    }
}

/// The side that votes: answers renewals, and remembers when it last did. It counts with the boot clock alone: a pause that
/// this clock misses makes its ages too small, and nobody is declared lost too early. (Rules L4, L5, L8, L17)
public struct LeaseVoter: Equatable, Sendable {
    /// What a voter's log says about a node, gathered by the caller.
    public struct View: Equatable, Sendable {
        /// The life that the log has admitted.
        public var incarnation: Incarnation
        /// The boot id of that life.
        public var bootID: String
        /// The durable log holds a suspicion of it that no applied `trust` has lifted. (Rule L4)
        public var isSuspected: Bool
        /// The node's standing is `lost`.
        public var isLost: Bool
        /// The latest membership entry in the log. (Rule L8)
        public var membershipIndex: LogIndex
    }

    struct Promise: Equatable, Sendable {
        var node: NodeID
        var at: Tick
        var duration: Span
    }

    let startedAt: Tick
    /// When the latest membership entry was applied; the start, before any was.
    public private(set) var membershipChangedAt: Tick
    /// The renewals of one node that were answered last. (Rule L19)
    struct Answered: Equatable, Sendable {
        struct Answer: Equatable, Sendable {
            var sentAt: Tick
            var at: Tick
        }
        var node: NodeID
        var recent: [Answer]
    }

    struct Heard: Equatable, Sendable {
        var node: NodeID
        var at: Tick
    }

    /// How many answers to one node are remembered: a renewal stamped before a pause and sent after it is answered at once,
    /// and would hide the age of the answer that the lease rests on.
    static let answersKept = 4
    /// Words about less than this tell of nothing but the network.
    private static let hiddenMinimum = Span.milliseconds(50)

    var promises: [Promise] = []
    var answered: [Answered] = []
    var heard: [Heard] = []

    /// A restarted voter counts as having answered everybody at its start. (Rule L5)
    public init(startedAt: Tick) {
        self.startedAt = startedAt
        self.membershipChangedAt = startedAt
    }

    /// A membership entry was applied: all ages count at least from here. (Rule L5)
    public mutating func membershipChanged(at now: Tick) { self.membershipChangedAt = now }

    /// A life was admitted: its silence counts from here.
    public mutating func admitted(_ node: NodeID, at now: Tick) {
        self.heard.removeAll { $0.node == node }
        self.heard.append(Heard(node: node, at: now))
        // Its clock is that of another boot.
        self.answered.removeAll { $0.node == node }
    }

    /// Notes that a node is heard; false when it is another life of it. (Rule E2.5: a voter that does not answer yet hears)
    @discardableResult public mutating func hear(_ renewal: Renewal, view: View, at now: Tick) -> Bool {
        guard renewal.incarnation == view.incarnation, renewal.bootID == view.bootID else { return false }
        if let index = self.heard.firstIndex(where: { $0.node == renewal.node }) {
            self.heard[index].at = now
        } else {
            self.heard.append(Heard(node: renewal.node, at: now))
        }
        return true
    }

    /// Notes a renewal, and says why it must not be answered; nil if it may be. The caller then echoes it.
    public mutating func receive(_ renewal: Renewal, view: View, at now: Tick) -> RenewalRefusal? {
        guard self.hear(renewal, view: view, at: now) else {
            return renewal.incarnation < view.incarnation ? .laterLife : .notAdmitted
        }
        // Rule L8: only the admitted incarnation, under a membership not older than this voter's.
        if view.isLost { return .lost }
        // Rule L4: a suspicion in the durable log is the promise not to answer.
        if view.isSuspected { return .suspected }
        guard renewal.membershipIndex >= view.membershipIndex else { return .olderMembership }
        // The promise that lasts longest counts, whatever D later renewals carry. (Rule L9)
        if let index = self.promises.firstIndex(where: { $0.node == renewal.node }) {
            let old = self.promises[index]
            if now + renewal.duration >= old.at + old.duration {
                self.promises[index] = Promise(node: renewal.node, at: now, duration: renewal.duration)
            }
        } else {
            self.promises.append(Promise(node: renewal.node, at: now, duration: renewal.duration))
        }
        return nil
    }

    /// Remembers that a renewal is answered, for what is said later about elapsed time. (Rule L19)
    public mutating func note(_ renewal: Renewal, at now: Tick) {
        guard let index = self.answered.firstIndex(where: { $0.node == renewal.node }) else {
            self.answered.append(Answered(node: renewal.node, recent: [.init(sentAt: renewal.sentAt, at: now)]))
            return
        }
        if self.answered[index].recent.count >= Self.answersKept { self.answered[index].recent.removeFirst() }
        self.answered[index].recent.append(.init(sentAt: renewal.sentAt, at: now))
    }

    /// What this voter can say of the time since its last answers to the node that sends this: only what the node's own clock
    /// may have missed. A refusal always names the last one. (Rules L18, L19)
    public func words(for renewal: Renewal, isRefusal: Bool, at now: Tick) -> [ElapsedWord] {
        guard let index = self.answered.firstIndex(where: { $0.node == renewal.node }) else { return [] }
        var words: [ElapsedWord] = []
        for (number, answer) in self.answered[index].recent.enumerated() {
            let elapsed = now.since(answer.at)
            let isLast = isRefusal && number + 1 == self.answered[index].recent.count
            guard isLast || elapsed.less(renewal.sentAt.since(answer.sentAt)) >= Self.hiddenMinimum else { continue }
            words.append(ElapsedWord(sentAt: answer.sentAt, elapsed: elapsed))
        }
        return words
    }

    /// How long ago this voter last heard a renewal of the node, answered or not.
    public func silence(of node: NodeID, at now: Tick) -> Span {
        now.since(self.heard.first { $0.node == node }?.at ?? self.startedAt)
    }

    /// When this voter last heard the node's renewals; nil before the first.
    public func lastHeard(_ node: NodeID) -> Tick? { self.heard.first { $0.node == node }?.at }

    /// The age of the last answer to the node and the D it was given with. To be reported only after the suspicion
    /// is in the durable log. (Rule L5)
    ///
    /// What an earlier life of the daemon answered is forgotten: it counts as answered at the start, with `longest`, the
    /// longest D that a renewal of this life of the node can have carried, and for as long as that lasts longer than what this
    /// life answered. (Rules L5.1, L9)
    public func answerAge(of node: NodeID, at now: Tick, longest: Span) -> (age: Span, duration: Span) {
        let floor = max(self.startedAt, self.membershipChangedAt)
        guard let promise = self.promises.first(where: { $0.node == node }) else {
            return (now.since(floor), longest)
        }
        if promise.at < floor { return (now.since(floor), max(promise.duration, longest)) }
        if promise.at + promise.duration < floor + longest { return (now.since(floor), longest) }
        return (now.since(promise.at), promise.duration)
    }
}
