/// A binary heap of events by time, then by order of insertion: the same seed gives the same order.
///
/// The heap holds small keys; the events lie beside it and do not move.
struct EventQueue<Event> {
    private struct Key {
        var time: UInt64
        var order: UInt64
        var place: Int
        func precedes(_ other: Key) -> Bool {
            self.time != other.time ? self.time < other.time : self.order < other.order
        }
    }

    private var keys: [Key] = []
    private var events: [Event?] = []
    private var free: [Int] = []
    private var inserted: UInt64 = 0

    var nextTime: UInt64? { self.keys.first?.time }

    mutating func add(_ event: Event, at time: UInt64) {
        let place: Int
        if let reused = self.free.popLast() {
            place = reused
            self.events[place] = event
        } else {
            place = self.events.count
            self.events.append(event)
        }
        let key = Key(time: time, order: self.inserted, place: place)
        self.inserted += 1
        var child = self.keys.count
        self.keys.append(key)
        while child > 0 {
            let parent = (child - 1) / 2
            guard key.precedes(self.keys[parent]) else { break }
            self.keys[child] = self.keys[parent]
            child = parent
        }
        self.keys[child] = key
    }

    mutating func next() -> (time: UInt64, event: Event)? {
        guard let first = self.keys.first, let last = self.keys.popLast() else { return nil }
        if !self.keys.isEmpty { self.sink(last) }
        guard let event = self.events[first.place].take() else {
            preconditionFailure("the event queue lost the event of \(first.time)")
        }
        self.free.append(first.place)
        return (first.time, event)
    }

    private mutating func sink(_ key: Key) {
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < self.keys.count else { break }
            if child + 1 < self.keys.count, self.keys[child + 1].precedes(self.keys[child]) { child += 1 }
            guard self.keys[child].precedes(key) else { break }
            self.keys[parent] = self.keys[child]
            parent = child
        }
        self.keys[parent] = key
    }
}
