import Basis
import Host
import Raft

/// Makes requests durable on a thread of its own, in order; what gathers while the disk is busy goes to it as one.
/// (docs/decisions/0005-leases-first.md)
final class LogWorker: Sendable {
    private struct State {
        var waiting: [PersistRequest] = []
        var isClosed = false
    }

    private static let restBeforeSeal = Span.seconds(1)

    private let persist: @Sendable (PersistRequest) throws -> Void
    private let seal: @Sendable () throws -> Void
    private let queue: LoopQueue
    private let state = Locked(State())

    /// Answers each request, or several together, with `persisted`, and the first failure with `logFailed`.
    init(
        queue: LoopQueue, persist: @escaping @Sendable (PersistRequest) throws -> Void,
        seal: @escaping @Sendable () throws -> Void
    ) {
        self.persist = persist
        self.seal = seal
        self.queue = queue
    }

    /// Starts the thread.
    func start() { SystemThread.start("log writer", isPrompt: true) { self.work() } }

    /// Hands a request over.
    func put(_ request: PersistRequest) { self.state.change { $0.waiting.append(request) } }

    /// Ends the thread once all that was handed over is durable.
    func close() { self.state.change { $0.isClosed = true } }

    private func work() {
        var isSealed = true
        while true {
            do {
                switch self.next(within: isSealed ? nil : Self.restBeforeSeal) {
                case .request(let request):
                    try self.persist(request)
                    isSealed = false
                    self.queue.change { $0.append(.persisted(request.sequence)) }
                case .rest:
                    try self.seal()
                    isSealed = true
                case .end: return
                }
            } catch {
                self.queue.change { $0.append(.logFailed(error)) }
                return
            }
        }
    }

    private enum Next {
        case request(PersistRequest)
        /// Nothing came for a while.
        case rest
        case end
    }

    private func next(within limit: Span?) -> Next {
        let waiting = self.state.wait(atMost: limit) { state -> [PersistRequest]? in
            guard !state.waiting.isEmpty || state.isClosed else { return nil }
            defer { state.waiting.removeAll(keepingCapacity: true) }
            return state.waiting
        }
        guard let waiting else { return .rest }
        guard var joined = waiting.first else { return .end }
        for request in waiting.dropFirst() { joined.join(request) }
        return .request(joined)
    }
}
