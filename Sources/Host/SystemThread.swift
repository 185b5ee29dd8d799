import Basis
import CLinux
import Glibc

/// Threads that block.
package enum SystemThread {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(_ name: String, _ run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Runs `body` on a thread of its own; the name shows in `ps -L`. With `isPrompt` it goes before everything else that
    /// runs on this machine, as far as the kernel allows that: for what a lease depends on, and for short pieces of work.
    /// False, and nothing is started, when the system has no thread left.
    @discardableResult
    package static func start(_ name: String, isPrompt: Bool = false, _ body: @escaping @Sendable () -> Void) -> Bool {
        let box = Unmanaged.passRetained(
            Body(name) {
                if isPrompt { self.goFirst() }
                body()
            })
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 1 << 20)
        defer { pthread_attr_destroy(&attributes) }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { pointer in
                guard let pointer else { return nil }
                let body = Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue()
                holdfast_name_thread(body.name)
                body.run()
                return nil
            }, box.toOpaque())
        if code != 0 { box.release() }
        return code == 0
    }

    /// The same, where nothing can go on without it: the process stops when the system has no thread left.
    package static func demand(_ name: String, _ body: @escaping @Sendable () -> Void) {
        precondition(self.start(name, body), "no thread could be started; raise the limit of tasks")
    }

    /// Waits so long. For a thread that has nothing to wait for; one that has, waits in `Locked.wait`.
    package static func sleep(_ time: Span) {
        var asked = timespec(
            tv_sec: Int(time.nanoseconds / 1_000_000_000), tv_nsec: Int(time.nanoseconds % 1_000_000_000))
        var left = timespec()
        while nanosleep(&asked, &left) != 0, errno == EINTR { asked = left }
    }

    /// From here on the calling thread goes before everything else, if that is allowed; 0, or the error.
    @discardableResult package static func goFirst() -> Int32 { holdfast_run_promptly(0) }

    /// From here on the calling thread goes along with everything else.
    package static func goAlong() { _ = holdfast_run_ordinarily() }
}
