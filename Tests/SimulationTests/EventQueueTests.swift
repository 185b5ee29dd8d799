import Basis
import Testing

@testable import Simulator

@Suite struct EventQueueTests {
    @Test func `events and tokens come by time, and of one time in the order of insertion`() {
        var random = SeededRandom(seed: 5)
        var queue = EventQueue<Int>()
        var waiting: [(time: UInt64, what: Int, isToken: Bool)] = []
        for what in 0..<2000 {
            let time = random.below(300)
            let isToken = random.chance(perMille: 500)
            if isToken { queue.add(token: what, at: time) } else { queue.add(what, at: time) }
            waiting.append((time, what, isToken))
        }
        // Swift's sort keeps the order of equals.
        for expected in waiting.sorted(by: { $0.time < $1.time }) {
            #expect(queue.nextTime == expected.time)
            let token = queue.nextToken()
            #expect((token != nil) == expected.isToken)
            #expect((token ?? queue.nextEvent()) == expected.what)
        }
        #expect(queue.nextTime == nil)
    }

    @Test func `what is brought forward comes sooner, in its order, and nothing else is moved`() {
        var queue = EventQueue<Int>()
        queue.add(1, at: 10)
        queue.add(token: 2, at: 900)
        queue.add(3, at: 700)
        queue.add(token: 4, at: 800)
        queue.add(5, at: 700)
        queue.add(token: 6, at: 50)
        queue.add(7, at: 100)
        queue.bringForward(to: 100, tokens: { $0 != 4 }, events: { $0 != 5 })
        var came: [String] = []
        while let time = queue.nextTime {
            let token = queue.nextToken()
            came.append("\(token ?? queue.nextEvent())@\(time)")
        }
        #expect(came == ["1@10", "6@50", "7@100", "3@100", "2@100", "5@700", "4@800"])
    }

    @Test func `the latest moment is after the end of the longest run`() {
        #expect(EventQueue<Int>.latest > Span.seconds(SimulationOptions.longestMinutes * 60 + 3600).nanoseconds)
    }

    @Test func `packets keep what is theirs while the pool grows, and are used again`() {
        var pool = PacketPool()
        let places = (0..<300).map { pool.take(from: NodeID(UInt32($0)), to: NodeID(2), boot: UInt64($0)) }
        #expect(Set(places).count == 300)
        for (number, place) in places.enumerated() {
            #expect(pool[place].via == NodeID(UInt32(number)))
            #expect(pool[place].boot == UInt64(number))
        }
        pool.giveBack(places[7])
        #expect(pool.take(from: NodeID(9), to: NodeID(1), boot: 1) == places[7])
    }
}
