import Basis
import CLinux
import Glibc

/// A value behind a lock, on whose change threads can wait. What is inside cannot be reached without the lock.
///
/// Unchecked: the compiler cannot see that the mutex lets one thread at a time to `storage`. All three pointers are made
/// in `init`, freed in `deinit`, and never change in between.
package final class Locked<Value: ~Copyable>: @unchecked Sendable {
    @usableFromInline let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    @usableFromInline let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    @usableFromInline let storage = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    /// Puts a value behind a lock. With `lendsPriority` a thread that holds the lock is not kept from running by others while
    /// one that goes first waits for it; it costs system calls where threads meet.
    package init(_ value: consuming sending Value, lendsPriority: Bool = true) {
        self.storage.initialize(to: value)
        if lendsPriority {
            holdfast_mutex_init(self.mutex)
        } else {
            let code = pthread_mutex_init(self.mutex, nil)
            precondition(code == 0, "the system refused a mutex")
        }
        holdfast_condition_init(self.condition)
    }

    deinit {
        pthread_cond_destroy(self.condition)
        pthread_mutex_destroy(self.mutex)
        self.storage.deinitialize(count: 1)
        self.storage.deallocate()
        self.condition.deallocate()
        self.mutex.deallocate()
    }

    /// Runs `body` alone with the value.
    @inlinable
    package func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return try body(&self.storage.pointee)
    }

    /// Runs `body`, then wakes every waiting thread.
    @inlinable
    package func change<Result>(_ body: (inout Value) -> Result) -> Result {
        // Woken only when the lock is free, or they would wait for it at once.
        defer { pthread_cond_broadcast(self.condition) }
        return self.withLock(body)
    }

    /// Asks `body` now and after each change until it has a result; nil once `limit` has passed.
    @inlinable
    package func wait<Result>(atMost limit: Span? = nil, until body: (inout Value) -> Result?) -> Result? {
        let end = limit.map { holdfast_monotonic_nanoseconds() + $0.nanoseconds }
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        while true {
            if let result = body(&self.storage.pointee) { return result }
            if let end {
                if holdfast_condition_wait(self.condition, self.mutex, end) == ETIMEDOUT {
                    return body(&self.storage.pointee)
                }
            } else {
                pthread_cond_wait(self.condition, self.mutex)
            }
        }
    }

    /// Takes the lock for as long as what is returned lives.
    @inlinable
    package func hold() -> Hold {
        pthread_mutex_lock(self.mutex)
        return Hold(self)
    }

    /// The lock, held, and the way to the value. The lock is left when this is given up or its scope ends.
    @frozen
    package struct Hold: ~Copyable {
        @usableFromInline let owner: Locked<Value>

        @inlinable
        init(_ owner: Locked<Value>) { self.owner = owner }

        @inlinable
        deinit { pthread_mutex_unlock(self.owner.mutex) }

        /// The value. Valid between two waits: others may have changed it since.
        @inlinable
        package var value: Value {
            unsafeAddress { UnsafePointer(self.owner.storage) }
            unsafeMutableAddress { self.owner.storage }
        }

        /// Leaves the lock.
        @inlinable
        package consuming func leave() {}

        /// Wakes every waiting thread; they run once the lock is left.
        @inlinable
        package func wakeAll() { pthread_cond_broadcast(self.owner.condition) }

        /// Leaves the lock, sleeps until somebody wakes all or for no reason at all, and takes it again.
        @inlinable
        package mutating func wait() { pthread_cond_wait(self.owner.condition, self.owner.mutex) }

        /// Leaves the lock while `body` runs: the value cannot be reached from it.
        @inlinable
        package mutating func whileLeft<Result>(_ body: () -> Result) -> Result {
            pthread_mutex_unlock(self.owner.mutex)
            defer { pthread_mutex_lock(self.owner.mutex) }
            return body()
        }
    }
}
