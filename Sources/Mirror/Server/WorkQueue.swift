import Host

/// Work handed to one thread.
final class WorkQueue<Element: Sendable>: @unchecked Sendable {
    private let lock = ConditionLock()
    private var items: [Element] = []
    private var isClosed = false

    func append(_ element: Element) {
        self.lock.lock()
        self.items.append(element)
        self.lock.broadcast()
        self.lock.unlock()
    }

    /// Waits for work and takes all of it; nil once closed and empty.
    func takeAll() -> [Element]? {
        self.lock.lock()
        defer { self.lock.unlock() }
        while self.items.isEmpty {
            if self.isClosed { return nil }
            self.lock.wait()
        }
        defer { self.items = [] }
        return self.items
    }

    func close() {
        self.lock.lock()
        self.isClosed = true
        self.lock.broadcast()
        self.lock.unlock()
    }
}

/// Threads that a `join` waits for.
final class ThreadGroup: @unchecked Sendable {
    private let lock = ConditionLock()
    private var count = 0

    /// False, and nothing is started, when the system has no thread left.
    func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        self.lock.lock()
        self.count += 1
        self.lock.unlock()
        let isStarted = SystemThread.start("volume") {
            body()
            self.leave()
        }
        if !isStarted { self.leave() }
        return isStarted
    }

    private func leave() {
        self.lock.lock()
        self.count -= 1
        self.lock.broadcast()
        self.lock.unlock()
    }

    func join() {
        self.lock.lock()
        while self.count > 0 { self.lock.wait() }
        self.lock.unlock()
    }
}
