/// A binary heap of events by time, then by order of insertion: the same seed gives the same order.
struct EventQueue<Event> {
    private struct Slot {
        var time: UInt64
        var order: UInt64
        var event: Event
        func precedes(_ other: Slot) -> Bool {
            self.time != other.time ? self.time < other.time : self.order < other.order
        }
    }

    private var slots: [Slot] = []
    private var inserted: UInt64 = 0

    var isEmpty: Bool { self.slots.isEmpty }
    var nextTime: UInt64? { self.slots.first?.time }

    mutating func add(_ event: Event, at time: UInt64) {
        self.slots.append(Slot(time: time, order: self.inserted, event: event))
        self.inserted += 1
        var child = self.slots.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard self.slots[child].precedes(self.slots[parent]) else { break }
            self.slots.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> (time: UInt64, event: Event)? {
        guard let first = self.slots.first else { return nil }
        let last = self.slots.removeLast()
        guard !self.slots.isEmpty else { return (first.time, first.event) }
        self.slots[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < self.slots.count {
                if self.slots[child].precedes(self.slots[least]) { least = child }
            }
            guard least != parent else { break }
            self.slots.swapAt(parent, least)
            parent = least
        }
        return (first.time, first.event)
    }
}
