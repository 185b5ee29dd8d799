import Basis
import CLinux
import Glibc

/// A value behind a lock, on whose change threads can wait. A thread that holds the lock is not kept from running by
/// others while one that goes first waits for it.
package final class Locked<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var value: Value

    package init(_ value: sending Value) {
        self.value = value
        holdfast_mutex_init(self.mutex)
        holdfast_condition_init(self.condition)
    }

    deinit {
        pthread_cond_destroy(self.condition)
        pthread_mutex_destroy(self.mutex)
        self.condition.deallocate()
        self.mutex.deallocate()
    }

    /// Runs `body` alone with the value.
    package func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return try body(&self.value)
    }

    /// Runs `body`, then wakes every waiting thread.
    package func change<Result>(_ body: (inout Value) -> Result) -> Result {
        // Woken only when the lock is free, or they would wait for it at once.
        defer { pthread_cond_broadcast(self.condition) }
        return self.withLock(body)
    }

    /// Asks `body` now and after each change until it has a result; nil once `limit` has passed.
    package func wait<Result>(atMost limit: Span? = nil, until body: (inout Value) -> Result?) -> Result? {
        let end = limit.map { holdfast_monotonic_nanoseconds() + $0.nanoseconds }
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        while true {
            if let result = body(&self.value) { return result }
            if let end {
                if holdfast_condition_wait(self.condition, self.mutex, end) == ETIMEDOUT { return body(&self.value) }
            } else {
                pthread_cond_wait(self.condition, self.mutex)
            }
        }
    }
}
