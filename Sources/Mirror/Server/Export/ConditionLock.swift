import Glibc

/// A mutex with a condition: what `Mutex` cannot do is let a thread sleep until the guarded state changes.
final class ConditionLock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        let made = pthread_mutex_init(self.mutex, nil) == 0 && pthread_cond_init(self.condition, nil) == 0
        precondition(made, "the system refused a mutex")
    }

    deinit {
        pthread_cond_destroy(self.condition)
        pthread_mutex_destroy(self.mutex)
        self.condition.deallocate()
        self.mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(self.mutex) }
    func unlock() { pthread_mutex_unlock(self.mutex) }
    /// Releases the lock, sleeps until `broadcast` or spuriously, and takes it again.
    func wait() { pthread_cond_wait(self.condition, self.mutex) }
    func broadcast() { pthread_cond_broadcast(self.condition) }
}
