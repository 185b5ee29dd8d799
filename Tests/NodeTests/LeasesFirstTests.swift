import Basis
import Host
import Raft
import RaftStorage
import Resources
import ScenarioKit
import Testing

@testable import Cluster
@testable import Daemon

private let peer = NodeID(2)
private let me = NodeID(1)

private func envelope(_ message: NodeMessage) -> Envelope {
    Envelope(from: peer, to: me, isRelayed: false, mark: .none, message: message)
}

private let renewal = Renewal(
    node: peer, incarnation: Incarnation(3), bootID: "boot", nonce: 1, sentAt: Tick(nanoseconds: 5),
    duration: .seconds(2), membershipIndex: LogIndex(1))

@Suite struct `What waits for the loop` {
    private func name(_ item: DaemonLoop.Item) -> String {
        switch item {
        case .input(.receive(let envelopes, _)):
            switch envelopes[0].message {
            case .renewal: "renewal"
            case .renewed: "renewed"
            case .forward: "forward"
            case .readRequest(let id): "read \(id)"
            default: "message"
            }
        case .input(.agentFinished(let id, _)): "agent \(id)"
        case .persisted(let sequence): "persisted \(sequence)"
        case .stop: "stop"
        default: "other"
        }
    }

    private func order(_ items: inout LoopItems) -> [String] {
        var names: [String] = []
        var taken: [DaemonLoop.Item] = []
        while !items.isEmpty {
            items.take(into: &taken)
            names += taken.map { self.name($0) }
        }
        return names
    }

    @Test func `a renewal and its answer go before all that waited before them`() {
        var items = LoopItems()
        for id in 1...500 { items.append(.input(.agentFinished(id: UInt64(id), .success))) }
        for id in 1...500 { items.append(.input(.receive(envelope(.readRequest(id: UInt64(id))), via: peer))) }
        var taken: [DaemonLoop.Item] = []
        items.take(into: &taken)
        #expect(taken.count == 1, "one step at a time, so that nothing urgent waits for two")
        items.append(.input(.receive(envelope(.renewal(renewal)), via: peer)))
        items.append(.input(.receive(envelope(.renewed(renewal, words: [])), via: peer)))
        items.take(into: &taken)
        #expect(taken.map { self.name($0) } == ["renewal", "renewed"])
    }

    @Test func `what came from one side is taken in the order in which it came, and none is forgotten`() {
        var items = LoopItems()
        for id in 1...40 {
            items.append(.input(.receive(envelope(.readRequest(id: UInt64(id))), via: peer)))
            items.append(.input(.agentFinished(id: UInt64(id), .success)))
        }
        items.append(.persisted(7))
        let names = self.order(&items)
        #expect(names.first == "persisted 7")
        #expect(names.filter { $0.hasPrefix("read") } == (1...40).map { "read \($0)" })
        #expect(names.filter { $0.hasPrefix("agent") } == (1...40).map { "agent \($0)" })
    }

    @Test func `an agent's answer waits for no more than eight messages of peers`() throws {
        var items = LoopItems()
        for id in 1...100 { items.append(.input(.receive(envelope(.readRequest(id: UInt64(id))), via: peer))) }
        items.append(.input(.agentFinished(id: 1, .success)))
        #expect(try #require(self.order(&items).firstIndex(of: "agent 1")) <= 8)
    }
}

/// A disk that can be held up, and tells what it did.
private final class HeldDisk: Sendable {
    struct State {
        var isHeld = false
        var isWaiting = false
        var story: [String] = []
    }
    let state = Locked(State())

    func persist(_ store: LogStore, _ request: PersistRequest) throws {
        self.state.change { if $0.isHeld { $0.isWaiting = true } }
        _ = self.state.wait { $0.isHeld ? nil : true }
        try store.persist(request)
        self.state.change { $0.story.append("durable") }
    }

    func hold() { self.state.change { $0.isHeld = true } }
    func release() { self.state.change { $0.isHeld = false } }
    func tell(_ text: String) { self.state.change { $0.story.append(text) } }
    func waitUntilAsked() { _ = self.state.wait { $0.isWaiting ? true : nil } }
}

@Suite struct `A log that takes its time` {
    @Test func `does not keep a lease from being renewed`() async throws {
        let scratch = try ScratchDirectory()
        let disk = HeldDisk()
        let daemon = try SmallDaemon(
            try SmallDaemon.found(in: scratch), logPatience: .seconds(3600), persist: { try disk.persist($0, $1) })
        _ = try await daemon.view { $0.supervisor.hasLease(at: $0.now) }
        disk.hold()
        defer { disk.release() }
        let id = try #require(try await daemon.view { $0.supervisor.me != nil }.supervisor.me?.id)
        daemon.queue.change { $0.append(.request(.propose(.drain(id, isDrained: true))) { _ in }) }
        disk.waitUntilAsked()
        let before = try await daemon.view { _ in true }.supervisor.holder.end
        let later = try await daemon.view { $0.supervisor.holder.end > before }
        #expect(later.supervisor.me?.isDrained == false, "the entry must not count before it is durable")
        disk.release()
        _ = try await daemon.view { $0.supervisor.me?.isDrained == true }
    }

    @Test func `makes no other write wait while it takes its time with a snapshot (rule C4)`() async throws {
        let scratch = try ScratchDirectory()
        let asked = Locked(0)
        let isHeld = Locked(true)
        defer { isHeld.change { $0 = false } }
        let daemon = try SmallDaemon(
            try SmallDaemon.found(in: scratch), logPatience: .seconds(3600),
            settings: Consensus.Settings(trailingEntries: 0, entriesBetweenSnapshots: 10),
            keep: { store, snapshot in
                asked.change { $0 += 1 }
                _ = isHeld.wait { $0 ? nil : true }
                try store.keep(snapshot)
            })
        let before = try await daemon.view { $0.supervisor.isAdmitted }
        let id = try #require(before.supervisor.me?.id)
        let enough = LogIndex(before.supervisor.state.appliedIndex.rawValue + 60)
        while try await daemon.view(where: { _ in true }).supervisor.state.appliedIndex < enough {
            _ = await daemon.backend.ask(.propose(.drain(id, isDrained: true)))
        }
        #expect(asked.withLock { $0 } == 1)
        let held = try await daemon.view { _ in true }
        #expect(held.supervisor.consensus.snapshotIndex == before.supervisor.consensus.snapshotIndex)
        let end = held.supervisor.holder.end
        _ = try await daemon.view { $0.supervisor.holder.end > end }
        isHeld.change { $0 = false }
        _ = try await daemon.view { $0.supervisor.consensus.firstIndex > enough }
    }

    @Test func `silences the node when it is silent for long: what nobody can serve is not held`() async throws {
        let scratch = try ScratchDirectory()
        let disk = HeldDisk()
        let daemon = try SmallDaemon(
            try SmallDaemon.found(in: scratch), logPatience: .zero, persist: { try disk.persist($0, $1) })
        let view = try await daemon.view { $0.supervisor.hasLease(at: $0.now) }
        let id = try #require(view.supervisor.me?.id)
        disk.hold()
        daemon.queue.change { $0.append(.request(.propose(.drain(id, isDrained: true))) { _ in }) }
        disk.waitUntilAsked()
        disk.tell("asked")
        let seen = OneAnswer<Bool>()
        daemon.queue.change {
            $0.append(
                .inspect { _ in
                    disk.tell("loop")
                    seen.give(true)
                })
        }
        disk.release()
        _ = await seen.value()
        let story = disk.state.withLock { $0.story }
        let after = story.drop { $0 != "asked" }.dropFirst()
        #expect(after.first == "durable" && after.contains("loop"), "\(story)")
    }
}
