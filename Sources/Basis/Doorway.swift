/// A bounded number of places for those who have not yet shown who they are: connections in their handshake, clients
/// that want to join. (Rule N1)
///
/// A newcomer always gets a place. When there was none left, somebody is shown out: a stranger before a known node, of
/// these the source that holds the most places, and of that source whoever came first. So a crowd from one place pushes
/// out its own, and no crowd of strangers pushes out a node of the cluster.
public struct Doorway: Equatable, Sendable {
    /// One who stands in it.
    public struct Guest: Equatable, Sendable {
        /// Tells guests apart; never used again.
        public var number: UInt64
        /// Where it comes from: what one sender cannot choose freely.
        public var source: String
        /// It comes from where a node of the cluster was seen.
        public var isKnown: Bool
        /// When its time is up.
        public var until: Tick
        /// It has shown enough to stay until then, whoever else comes.
        public var isSettled = false
    }

    /// How many may stand in it, those that are settled not counted.
    public let places: Int
    /// In the order in which they came.
    public private(set) var guests: [Guest] = []
    private var numbers: UInt64 = 0

    /// With at least one place.
    public init(places: Int) {
        precondition(places > 0, "a doorway without a place lets nobody in")
        self.places = places
    }

    /// Takes somebody in until `until`; `shownOut` is who has to leave for that: nobody, another guest, or the newcomer
    /// itself.
    public mutating func enter(
        from source: String, isKnown: Bool, until: Tick
    ) -> (number: UInt64, shownOut: UInt64?) {
        self.numbers += 1
        self.guests.append(Guest(number: self.numbers, source: source, isKnown: isKnown, until: until))
        let waiting = self.guests.filter { !$0.isSettled }
        guard waiting.count > self.places else { return (self.numbers, nil) }
        let strangers = waiting.filter { !$0.isKnown }
        let candidates = strangers.isEmpty ? waiting : strangers
        var chosen: (index: Int, crowd: Int)?
        for (index, guest) in candidates.enumerated() {
            let crowd = candidates.filter { $0.source == guest.source }.count
            if crowd > chosen?.crowd ?? 0 { chosen = (index, crowd) }
        }
        guard let chosen else { return (self.numbers, nil) }
        let number = candidates[chosen.index].number
        self.leave(number)
        return (self.numbers, number)
    }

    /// A guest has shown enough: nobody pushes it out any more, and it has until `until`. False when it is not here.
    public mutating func settle(_ number: UInt64, until: Tick) -> Bool {
        guard let index = self.guests.firstIndex(where: { $0.number == number }) else { return false }
        self.guests[index].isSettled = true
        self.guests[index].until = until
        return true
    }

    /// A guest went, or was let in. Harmless when repeated.
    public mutating func leave(_ number: UInt64) { self.guests.removeAll { $0.number == number } }

    /// Shows out everybody whose time is up.
    public mutating func expire(at now: Tick) -> [UInt64] {
        let late = self.guests.filter { $0.until <= now }.map(\.number)
        self.guests.removeAll { $0.until <= now }
        return late
    }
}

/// How a process divides the file descriptors that it may have. (Rule N1)
///
/// The kernel gives out the lowest number that is free, so a number tells how many are taken: what comes from outside
/// is turned away long before the log, the links and the children of this process would find none.
public struct DescriptorBudget: Equatable, Sendable {
    /// The process may have this many.
    public let limit: Int
    /// Handshakes at a time.
    public let handshakes: Int
    /// A stranger's connection whose descriptor is not below this is closed at once.
    public let strangersBelow: Int
    /// The same for one from where a node of the cluster was seen.
    public let knownBelow: Int

    /// Divides `limit` descriptors.
    public init(limit: Int) {
        self.limit = limit
        self.handshakes = min(64, max(8, limit / 8))
        self.strangersBelow = limit - min(512, limit / 2)
        self.knownBelow = limit - min(256, limit / 4)
    }

    /// Whether a connection that got this descriptor may stay.
    public func admits(_ descriptor: Int32, isKnown: Bool) -> Bool {
        Int(descriptor) < (isKnown ? self.knownBelow : self.strangersBelow)
    }
}
