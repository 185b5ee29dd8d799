/// A heap of events by time, then by order of insertion: the same seed gives the same order.
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

    /// Children of one key: a shallow heap moves less.
    private static var width: Int { 4 }

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
        self.keys.withUnsafeMutableBufferPointer { keys in
            while child > 0 {
                let parent = (child - 1) / Self.width
                guard key.precedes(keys[parent]) else { break }
                keys[child] = keys[parent]
                child = parent
            }
            keys[child] = key
        }
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
        self.keys.withUnsafeMutableBufferPointer { keys in
            var parent = 0
            while true {
                let first = Self.width * parent + 1
                guard first < keys.count else { break }
                var child = first
                for other in first..<min(first + Self.width, keys.count) where keys[other].precedes(keys[child]) {
                    child = other
                }
                guard keys[child].precedes(key) else { break }
                keys[parent] = keys[child]
                parent = child
            }
            keys[parent] = key
        }
    }
}
