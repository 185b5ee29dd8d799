/// Events by time, then by order of insertion: the same seed gives the same order.
///
/// A few dozen wait at a time, and most new ones are due before most of them. So a sorted array, the soonest last, beats
/// a heap. It holds small keys; the events lie beside it and do not move. The most frequent kinds are nothing but a
/// number, a token, which the key itself holds.
struct EventQueue<Event> {
    /// The time in the upper 48 bits, which is 78 hours; then a bit that says token, and the token or the event's place.
    /// Of equal times the later inserted is nearer to the beginning.
    private typealias Key = UInt64

    private static var lowBits: UInt64 { 16 }
    private static var lowMask: UInt64 { 1 << Self.lowBits - 1 }
    private static var tokenBit: UInt64 { 1 << 15 }
    /// No event may be due later, in nanoseconds.
    static var latest: UInt64 { UInt64.max >> Self.lowBits }

    /// The first `count` wait; the rest is room.
    private var keys = ContiguousArray<Key>(repeating: 0, count: 64)
    private var count = 0
    private var events: ContiguousArray<Event?> = []
    private var free: ContiguousArray<Int> = []

    /// When the next event or token is due.
    var nextTime: UInt64? { self.count == 0 ? nil : self.keys[self.count - 1] >> Self.lowBits }

    mutating func add(_ event: consuming Event, at time: UInt64) {
        let place: Int
        if self.free.isEmpty {
            place = self.events.count
            self.events.append(event)
            precondition(UInt64(place) < Self.tokenBit, "too many events wait")
        } else {
            place = self.free.removeLast()
            self.events[place] = event
        }
        self.insert(UInt64(place), at: time)
    }

    /// `token` is below 2¹⁵.
    mutating func add(token: Int, at time: UInt64) {
        precondition(UInt64(token) < Self.tokenBit, "too many packets are under way")
        self.insert(UInt64(token) | Self.tokenBit, at: time)
    }

    private mutating func insert(_ low: UInt64, at time: UInt64) {
        precondition(time <= Self.latest, "an event is due after 78 hours")
        let key = time << Self.lowBits | low
        let latestOfTime = key | Self.lowMask
        if self.count == self.keys.count { self.keys.append(contentsOf: repeatElement(0, count: self.count)) }
        let count = self.count
        self.count += 1
        self.keys.withUnsafeMutableBufferPointer { keys in
            var place = count
            while place > 0, keys[place - 1] <= latestOfTime { place -= 1 }
            if place < count, let base = keys.baseAddress {
                (base + place + 1).update(from: base + place, count: count - place)
            }
            keys[place] = key
        }
    }

    /// Brings forward to `time` what is due later and is chosen, in the order in which it would have come.
    mutating func bringForward(
        to time: UInt64, tokens isChosenToken: (Int) -> Bool, events isChosen: (Event) -> Bool
    ) {
        var brought: [UInt64] = []
        var kept = 0
        for place in 0..<self.count {
            let key = self.keys[place]
            let low = key & Self.lowMask
            let isWanted =
                low & Self.tokenBit != 0
                ? isChosenToken(Int(low & (Self.tokenBit - 1))) : self.events[Int(low)].map(isChosen) ?? false
            if isWanted, key >> Self.lowBits > time {
                brought.append(low)
            } else {
                self.keys[kept] = key
                kept += 1
            }
        }
        self.count = kept
        for low in brought.reversed() { self.insert(low, at: time) }
    }

    /// Whether an event waits that satisfies `condition`.
    func contains(where condition: (Event) -> Bool) -> Bool {
        self.events.contains { event in event.map(condition) ?? false }
    }

    /// Takes the token that is due next; nil when it is an event. Something must wait.
    mutating func nextToken() -> Int? {
        let key = self.keys[self.count - 1]
        guard key & Self.tokenBit != 0 else { return nil }
        self.count -= 1
        return Int(key & (Self.tokenBit - 1))
    }

    /// Takes the event that is due next.
    mutating func nextEvent() -> Event {
        self.count -= 1
        let place = Int(self.keys[self.count] & Self.lowMask)
        self.free.append(place)
        let taken = self.events.withUnsafeMutableBufferPointer { events in
            let event = events.moveElement(from: place)
            events.initializeElement(at: place, to: nil)
            return event
        }
        guard let event = taken else {
            preconditionFailure("the event queue lost an event")
        }
        return event
    }
}
