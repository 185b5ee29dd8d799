import Host

/// An answer that comes from one of several places; the first counts.
final class OneAnswer<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var isGiven = false
        var continuation: CheckedContinuation<Value, Never>?
    }
    private let state = Locked(State())

    /// Gives the answer, unless there is one.
    func give(_ value: Value) {
        let continuation = self.state.change { state -> CheckedContinuation<Value, Never>? in
            guard !state.isGiven else { return nil }
            state.isGiven = true
            state.value = value
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(returning: value)
    }

    /// Waits for it.
    func value() async -> Value {
        await withCheckedContinuation { continuation in
            let ready = self.state.change { state -> Value? in
                if let value = state.value { return value }
                state.continuation = continuation
                return nil
            }
            if let ready { continuation.resume(returning: ready) }
        }
    }
}
