import Basis

/// When a node renews its certificate, and what it tells of it: a value that its daemon asks about once a second.
///
/// No link looks at dates, so a certificate that is renewed too late, or by a clock that is wrong, stops nothing.
/// (docs/decisions/0020)
public struct CertificateCare: Sendable {
    /// What the daemon knows at a moment.
    public struct Facts: Sendable {
        /// This node.
        public var node: NodeID
        /// Its certificate, without a word about trouble.
        public var present: CertificateRecord
        /// What the log has of it.
        public var known: CertificateRecord?
        /// A copy of this machine may have it too, and a person has said that this one is the node. (Rule E5)
        public var isShared: Bool
        /// The authority that the log wants certificates of; nil: any that is trusted.
        public var wanted: CertificateRecord.Fingerprint?
        /// What most nodes agree that the time is, in seconds from 1970; nil where they do not.
        public var seconds: UInt64?
        /// The log takes such a word, and there is a leader.
        public var mayTell: Bool

        /// All fields.
        public init(
            node: NodeID, present: CertificateRecord, known: CertificateRecord?, isShared: Bool = false,
            wanted: CertificateRecord.Fingerprint?, seconds: UInt64?, mayTell: Bool
        ) {
            self.node = node
            self.present = present
            self.known = known
            self.isShared = isShared
            self.wanted = wanted
            self.seconds = seconds
            self.mayTell = mayTell
        }
    }

    /// What happened.
    public enum Input: Sendable {
        /// Time passed.
        case look(Facts)
        /// A person wants it renewed now.
        case asked
        /// What `renew` led to: nil, or why it led to nothing.
        case ended(failure: String?)
    }

    /// What is to be done.
    public enum Effect: Equatable, Sendable {
        /// Get another certificate; answered by `ended`.
        case renew
        /// Say this in the log.
        case tell(CertificateRecord)
    }

    /// The shortest time between two attempts, and the longest.
    private static let pauses = Span.seconds(5)...Span.seconds(3600)
    /// The log has taken a word by then, or it is said again.
    private static let tellPause = Span.seconds(5)

    private var isRenewing = false
    private var isAsked = false
    /// When the last attempt ended.
    private var ended: Tick?
    private var pause = CertificateCare.pauses.lowerBound
    private var nextWord = Tick.zero
    /// Why the last attempt led to nothing.
    private var failure: String?

    /// Nothing is known yet.
    public init() {}

    /// Takes what happened.
    public mutating func step(_ input: Input, at now: Tick, into effects: inout [Effect]) {
        switch input {
        case .asked: self.isAsked = true
        case .ended(let failure):
            self.isRenewing = false
            self.pause = self.ended == nil || self.failure == nil ? Self.pauses.lowerBound : self.pause * 2
            self.failure = failure
            self.ended = now
        case .look(let facts):
            self.renewIfDue(facts, at: now, into: &effects)
            self.tellIfNews(facts, at: now, into: &effects)
        }
    }

    private mutating func renewIfDue(_ facts: Facts, at now: Tick, into effects: inout [Effect]) {
        guard !self.isRenewing else { return }
        let longestPause = Self.pause(forLife: facts.present.validity.lifeSeconds)
        self.pause = min(self.pause, longestPause)
        let isUnwanted = facts.isShared || facts.wanted.map { $0 != facts.present.authority } ?? false
        // Who was renewed and is due at once, because clocks are wrong, waits as long as can be.
        let pause = self.failure != nil ? self.pause : isUnwanted ? .zero : longestPause
        let isPaused = self.ended.map { now < $0 + pause } ?? false
        let isDue = facts.seconds.map { CertificateLife.isDue(facts.present.validity, of: facts.node, at: $0) } ?? false
        guard self.isAsked || (isUnwanted || isDue) && !isPaused else {
            if !isUnwanted, !isDue { self.failure = nil }
            return
        }
        self.isAsked = false
        self.isRenewing = true
        effects.append(.renew)
    }

    private mutating func tellIfNews(_ facts: Facts, at now: Tick, into effects: inout [Effect]) {
        var record = facts.present
        if let failure = self.failure, let seconds = facts.seconds,
            CertificateLife.isNearEnd(record.validity, at: seconds)
        {
            record.trouble = KeptWords(failure)
        }
        guard facts.mayTell, now >= self.nextWord, !record.says(noMoreThan: facts.known) else { return }
        self.nextWord = now + Self.tellPause
        effects.append(.tell(record))
    }

    /// An hour, and less for what lives shorter than some days.
    private static func pause(forLife seconds: UInt64) -> Span {
        min(max(.seconds(1), .seconds(min(seconds, 1 << 32) / 100)), self.pauses.upperBound)
    }
}

/// How long certificates live.
public enum CertificateLife {
    /// What they are made for.
    public static let standardSeconds: UInt64 = 365 * 86_400
    /// None is longer, but those of builds from before, which had no end.
    public static let longestSeconds: UInt64 = 397 * 86_400
    /// A certificate counts from so long before it was made, since clocks differ.
    private static let slackSeconds: UInt64 = 3600
    /// From a clock that is further ahead than this, nothing is believed.
    private static let aheadSeconds: UInt64 = 86_400

    /// The validity of a certificate that is made now.
    public static func validity(at seconds: UInt64, lifeSeconds: UInt64) -> Validity {
        let slack = min(self.slackSeconds, lifeSeconds / 10, seconds)
        return Validity(from: seconds - slack, until: seconds + lifeSeconds)
    }

    /// A third of its life is left, or a little more, so that not all nodes renew at once; or its dates can be of no use.
    public static func isDue(_ validity: Validity, of node: NodeID, at seconds: UInt64) -> Bool {
        guard validity.lifeSeconds <= self.longestSeconds, validity.from <= seconds + self.aheadSeconds else {
            return true
        }
        return seconds >= self.renewalSeconds(validity, of: node)
    }

    /// When a node renews a certificate whose dates are of use.
    public static func renewalSeconds(_ validity: Validity, of node: NodeID) -> UInt64 {
        let mixed = (UInt64(node.rawValue) &* 0x9E37_79B9_7F4A_7C15) >> 54
        let early = validity.lifeSeconds / 12 * mixed / 1024
        return validity.until - validity.lifeSeconds / 3 - early
    }

    /// A sixth of its life is left, or less: somebody should look.
    public static func isNearEnd(_ validity: Validity, at seconds: UInt64) -> Bool {
        validity.lifeSeconds <= self.longestSeconds && seconds >= validity.until - validity.lifeSeconds / 6
    }

    /// What most nodes agree that the time is: the middle one of the clocks that were heard, when those are a majority of the
    /// nodes. A wrong clock, and the one of a node that is alone, decides nothing.
    public static func agreedSeconds(clocks: [UInt64], nodes: Int) -> UInt64? {
        guard !clocks.isEmpty, clocks.count * 2 > nodes else { return nil }
        return clocks.sorted()[(clocks.count - 1) / 2]
    }
}
