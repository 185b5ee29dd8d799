import Host

/// Work handed to one thread.
final class WorkQueue<Element: Sendable>: Sendable {
    private struct State {
        var items: [Element] = []
        var isClosed = false
    }
    private let state = Locked(State(), lendsPriority: false)

    func append(_ element: Element) { self.state.change { $0.items.append(element) } }

    /// Waits for work and takes all of it; nil once closed and empty.
    func takeAll() -> [Element]? {
        let items = self.state.wait { state -> [Element]? in
            guard !state.items.isEmpty || state.isClosed else { return nil }
            defer { state.items = [] }
            return state.items
        }
        guard let items, !items.isEmpty else { return nil }
        return items
    }

    func close() { self.state.change { $0.isClosed = true } }
}

/// Threads that a `join` waits for.
final class ThreadGroup: Sendable {
    private let count = Locked(0)

    /// False, and nothing is started, when the system has no thread left.
    func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        self.count.withLock { $0 += 1 }
        let isStarted = SystemThread.start("volume") {
            body()
            self.leave()
        }
        if !isStarted { self.leave() }
        return isStarted
    }

    private func leave() { self.count.change { $0 -= 1 } }

    func join() { _ = self.count.wait { $0 == 0 ? true : nil } }
}
