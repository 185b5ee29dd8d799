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

/// Starts a detached thread; false if the system has none left.
func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let body = Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let status = pthread_create(
        &thread, nil,
        { context in
            guard let context else { return nil }
            Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
            return nil
        }, body.toOpaque())
    if status != 0 {
        body.release()
        return false
    }
    pthread_detach(thread)
    return true
}
