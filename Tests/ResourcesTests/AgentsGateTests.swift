import Basis
import Dispatch
import Host
import Synchronization
import Testing

@testable import Agents
@testable import Resources

@Suite struct `Calls that come all at once` {
    private final class Story: Sendable {
        private let lines = Mutex<[String]>([])
        func tell(_ line: String) { self.lines.withLock { $0.append(line) } }
        var all: [String] { self.lines.withLock { $0 } }
    }

    private final class Hand: Sendable {
        let time = Mutex(Tick(nanoseconds: 1))
        let isCancelled = Mutex(false)
    }

    private func gate(_ hand: Hand) -> CallGate {
        CallGate(atOnce: 2, moment: .seconds(1)) { hand.time.withLock { $0 } }
    }

    @Test func `wait until one before them has ended`() {
        let (gate, story, done) = (self.gate(Hand()), Story(), DispatchSemaphore(value: 0))
        let first = gate.enter { false }
        #expect(gate.enter { false } != nil)
        SystemThread.demand("agent") {
            if gate.enter(isCancelled: { false }) != nil { story.tell("through") }
            done.signal()
        }
        story.tell("left")
        if let first { gate.leave(first) }
        done.wait()
        #expect(story.all == ["left", "through"])
    }

    @Test func `wait for none that takes long`() {
        let hand = Hand()
        let gate = self.gate(hand)
        #expect(gate.enter { false } != nil)
        #expect(gate.enter { false } != nil)
        hand.time.withLock { $0 = $0 + .seconds(1) }
        #expect(gate.enter { false } != nil, "the moment of both is over, though neither has ended")
    }

    @Test func `end at once when they are cancelled while they wait`() {
        let hand = Hand()
        let (gate, done) = (self.gate(hand), DispatchSemaphore(value: 0))
        #expect(gate.enter { false } != nil)
        #expect(gate.enter { false } != nil)
        SystemThread.demand("agent") {
            #expect(gate.enter { hand.isCancelled.withLock { $0 } } == nil)
            done.signal()
        }
        hand.isCancelled.withLock { $0 = true }
        gate.wakeAll()
        done.wait()
    }
}
