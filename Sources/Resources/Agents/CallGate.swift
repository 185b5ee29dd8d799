import Basis
import Dispatch
import Synchronization

/// Spreads calls out that all come at once: so many may be in their first moment at a time. A call that takes long keeps
/// nobody waiting beyond that, and those that wait go in the order in which they came.
final class CallGate: Sendable {
    private final class Waiter: Sendable {
        let wake = DispatchSemaphore(value: 0)
    }

    private struct State {
        /// Until when those that went through count.
        var recent: [(ticket: UInt64, until: Tick)] = []
        var line: [Waiter] = []
        var nextTicket: UInt64 = 1
    }

    private enum Answer {
        case go(UInt64)
        case never
        /// Until then at least, or until somebody wakes it.
        case wait(Span?)
    }

    private let atOnce: Int
    private let moment: Span
    private let clock: @Sendable () -> Tick
    private let state = Mutex(State())

    init(atOnce: Int, moment: Span, clock: @escaping @Sendable () -> Tick) {
        self.atOnce = atOnce
        self.moment = moment
        self.clock = clock
    }

    /// Waits for its turn; nil when `isCancelled` says so meanwhile. Whoever goes through calls `leave`.
    func enter(isCancelled: () -> Bool) -> UInt64? {
        let me = Waiter()
        self.state.withLock { $0.line.append(me) }
        while true {
            switch self.ask(me, isCancelled()) {
            case .go(let ticket): return ticket
            case .never: return nil
            case .wait(let span?): _ = me.wake.wait(timeout: .now() + .nanoseconds(Int(span.nanoseconds) + 1000))
            case .wait(nil): me.wake.wait()
            }
        }
    }

    /// It ended: its place is free.
    func leave(_ ticket: UInt64) {
        self.state.withLock { state in
            state.recent.removeAll { $0.ticket == ticket }
            state.line.first?.wake.signal()
        }
    }

    /// Somebody was cancelled.
    func wakeAll() {
        self.state.withLock { state in for waiter in state.line { waiter.wake.signal() } }
    }

    private func ask(_ me: Waiter, _ isCancelled: Bool) -> Answer {
        let now = self.clock()
        return self.state.withLock { state in
            if isCancelled {
                state.line.removeAll { $0 === me }
                state.line.first?.wake.signal()
                return .never
            }
            guard state.line.first === me else { return .wait(nil) }
            state.recent.removeAll { $0.until <= now }
            guard state.recent.count < self.atOnce else {
                return .wait((state.recent.map(\.until).min() ?? now).since(now))
            }
            defer { state.nextTicket += 1 }
            state.recent.append((state.nextTicket, now + self.moment))
            state.line.removeFirst()
            state.line.first?.wake.signal()
            return .go(state.nextTicket)
        }
    }
}
