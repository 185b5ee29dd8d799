import Basis
import Cluster
import Host
import Raft

/// Makes snapshots durable beside the log, on a thread of its own that goes before nothing: encoding, writing and decoding a
/// large state takes seconds, and nobody waits for it. (Rule C4; docs/decisions/0005-leases-first.md)
final class SnapshotWorker: Sendable {
    private struct State {
        var waiting: [SnapshotOrder] = []
        var isClosed = false
    }

    private let release: Release
    private let write: @Sendable (Snapshot) throws -> Void
    private let queue: LoopQueue
    private let state = Locked(State())

    /// Answers each order with the input `snapshot`.
    init(queue: LoopQueue, release: Release, write: @escaping @Sendable (Snapshot) throws -> Void) {
        self.release = release
        self.write = write
        self.queue = queue
    }

    /// Starts the thread.
    func start() { SystemThread.demand("snapshot writer") { self.work() } }

    /// Hands an order over.
    func put(_ order: SnapshotOrder) { self.state.change { $0.waiting.append(order) } }

    /// Ends the thread after what it is at.
    func close() { self.state.change { $0.isClosed = true } }

    private func work() {
        while let order = self.next() {
            let word = order.perform(by: self.release, write: self.write)
            self.queue.change { $0.append(.input(.snapshot(word))) }
        }
    }

    private func next() -> SnapshotOrder? {
        self.state.wait(atMost: nil) { state -> SnapshotOrder?? in
            if state.isClosed { return .some(nil) }
            return state.waiting.isEmpty ? nil : .some(state.waiting.removeFirst())
        } ?? nil
    }
}
