import Dispatch
import Host
import Synchronization

/// Starts services from one thread that never ends. A program may ask to be signalled at the death of its parent
/// (PR_SET_PDEATHSIG), and to the kernel the parent is the thread: from a call's own thread it would die with the call.
final class ServiceSpawner: Sendable {
    private struct Job: Sendable {
        let request: SpawnRequest
        let answer: Answer
    }

    private final class Answer: Sendable {
        let result = Mutex<Result<SpawnedProcess, AgentError>?>(nil)
        let ready = DispatchSemaphore(value: 0)
    }

    private struct State {
        var jobs: [Job] = []
        var running = false
    }

    private let setup: @Sendable () -> Void
    private let state = Mutex(State())
    private let pending = DispatchSemaphore(value: 0)

    /// `setup` runs first on the thread.
    init(setup: @escaping @Sendable () -> Void) { self.setup = setup }

    /// Starts a process; blocks for as long as that takes.
    func start(_ request: SpawnRequest) throws(AgentError) -> SpawnedProcess {
        let answer = Answer()
        let begin = self.state.withLock { state in
            state.jobs.append(Job(request: request, answer: answer))
            defer { state.running = true }
            return !state.running
        }
        if begin { SystemThread.demand("agent") { self.loop() } }
        self.pending.signal()
        answer.ready.wait()
        guard let result = answer.result.withLock({ $0 }) else { preconditionFailure("an answer without a result") }
        return try result.get()
    }

    private func loop() {
        self.setup()
        while true {
            self.pending.wait()
            guard let job = self.state.withLock({ $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }) else { continue }
            let result: Result<SpawnedProcess, AgentError>
            do throws(AgentError) { result = .success(try Spawn.start(job.request)) } catch { result = .failure(error) }
            job.answer.result.withLock { $0 = result }
            job.answer.ready.signal()
        }
    }
}
