/// Events by time, then by order of insertion: the same seed gives the same order.
///
/// A few dozen wait at a time, and most new ones are due before most of them. So a sorted array, the soonest last, beats
/// a heap. It holds small keys; the events lie beside it and do not move.
struct EventQueue<Event> {
    /// Time in the upper 64 bits, then 32 of the order, then 32 of the place: one comparison orders them.
    private typealias Key = UInt128

    private var keys: ContiguousArray<Key> = []
    private var events: ContiguousArray<Event?> = []
    private var free: ContiguousArray<UInt32> = []
    private var inserted: UInt32 = 0

    var nextTime: UInt64? { self.keys.isEmpty ? nil : UInt64(truncatingIfNeeded: self.keys[self.keys.count - 1] >> 64) }

    mutating func add(_ event: consuming Event, at time: UInt64) {
        let place: UInt32
        if self.free.isEmpty {
            place = UInt32(self.events.count)
            self.events.append(event)
        } else {
            place = self.free.removeLast()
            self.events[Int(place)] = event
        }
        let key = Key(time) << 64 | Key(UInt64(self.inserted) << 32 | UInt64(place))
        self.inserted += 1
        self.keys.append(key)
        self.keys.withUnsafeMutableBufferPointer { keys in
            var hole = keys.count - 1
            while hole > 0, keys[hole - 1] < key {
                keys[hole] = keys[hole - 1]
                hole -= 1
            }
            keys[hole] = key
        }
    }

    /// Takes the next event, which there must be.
    mutating func next() -> Event {
        let place = UInt32(truncatingIfNeeded: self.keys.removeLast())
        self.free.append(place)
        guard let event = self.events[Int(place)].take() else {
            preconditionFailure("the event queue lost an event")
        }
        return event
    }
}
