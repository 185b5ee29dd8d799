import Basis
import Cluster
import Resources
import Testing

private typealias Log = StateLog

private let orders = GroupName("orders")
private let tok = NodeID(1)
private let osk = NodeID(2)

@Suite struct `Births, bans and claims in the replicated state` {
    @Test func `what a search met is kept until the next answer, and an earlier search does not count (rule B2)`() {
        let log = Log()
        log.configure()
        let first = log.search
        log.absent(tok)
        func met(_ isRunning: Bool, _ reason: String) -> ClusterState.Finding {
            .init(node: osk, resource: ResourceName("disk"), isRunning: isRunning, reason: reason)
        }
        log.run(.found(orders, met(false, "no answer"), log.life(osk), since: first))
        log.run(.found(orders, met(true, ""), log.life(osk), since: first))
        #expect(log.state.group(orders)?.findings == [met(true, "")])
        #expect(!log.assign(tok).isAccepted)
        log.absent(osk)
        #expect(log.state.group(orders)?.findings == [])
        // Something else by the same name: what was found out about it counts no more.
        log.configure(mount: "/srv/other")
        #expect(log.search != first)
        #expect(!log.run(.absent(orders, tok, log.life(tok), since: first)).isAccepted)
        #expect(!log.assign(tok).isAccepted)
        let signed = Command.declareAbsent(orders, nodes: [tok, osk], since: first, statement: "too late")
        #expect(!log.run(signed).isAccepted)
        log.declareAbsent()
        #expect(log.assign(tok).isAccepted)
    }

    /// Groups by name, each with an address.
    private func addresses(_ log: Log, _ groups: [(String, String)], takeover: Takeover = .afterLease) {
        let policy = ClusterPolicy(
            name: "prod",
            groups: groups.map { name, address in
                GroupPolicy(
                    name: GroupName(name), nodes: ["tok-1", "osk-1"], takeover: takeover,
                    resources: [
                        ResourcePolicy(
                            name: ResourceName("ip"), agent: "address", parameters: [.init("address", address)])
                    ])
            })
        log.run(.configure(policy, text: "", expectedIndex: log.state.policyIndex))
    }

    private func start(_ log: Log, _ group: String, on node: NodeID, isTakeover: Bool = false) -> Outcome {
        let name = GroupName(group)
        guard let record = log.state.group(name) else { return .refused(.unfit("no group")) }
        if record.epoch == .none {
            let nodes = log.state.nodes.map(\.id)
            log.run(.declareAbsent(name, nodes: nodes, since: record.searchedSince, statement: "a test"))
        }
        return log.run(
            .assign(
                name, node, log.life(node), replacing: record.epoch, isTakeover: isTakeover, reason: "a test"))
    }

    @Test func `what one group may still hold another does not get (rule B5)`() {
        let log = Log()
        self.addresses(log, [("shop", "10.0.0.5/24")])
        #expect(self.start(log, "shop", on: tok).isAccepted)
        let epoch = log.state.group(GroupName("shop"))?.epoch ?? .none
        self.addresses(log, [("store", "10.0.0.5/16")])
        #expect(!self.start(log, "store", on: osk).isAccepted)
        #expect(log.run(.stopped(GroupName("shop"), epoch, failure: nil)).isAccepted)
        #expect(log.state.group(GroupName("shop")) == nil)
        #expect(self.start(log, "store", on: osk).isAccepted)
        // Also when its life ends instead.
        self.addresses(log, [("third", "10.0.0.5/24")])
        #expect(!self.start(log, "third", on: tok).isAccepted)
        log.lose(osk)
        #expect(self.start(log, "third", on: tok).isAccepted)
    }

    @Test func `the life that was taken over from holds on until it has stopped or ended (rule B5.1)`() {
        let log = Log()
        let shop = GroupName("shop")
        self.addresses(log, [("shop", "10.0.0.5/24")], takeover: .immediate)
        #expect(self.start(log, "shop", on: tok).isAccepted)
        let first = log.state.group(shop)?.epoch ?? .none
        log.run(.suspect(tok, log.life(tok)))
        #expect(self.start(log, "shop", on: osk, isTakeover: true).isAccepted)
        let second = log.state.group(shop)?.epoch ?? .none
        self.addresses(log, [("store", "10.0.0.5/24")])
        #expect(log.run(.stopped(shop, second, failure: nil)).isAccepted)
        #expect(log.state.group(shop) == nil)
        #expect(!self.start(log, "store", on: osk).isAccepted, "tok-1 may still have the address")
        #expect(log.run(.stopped(shop, first, failure: nil)).isAccepted)
        #expect(self.start(log, "store", on: osk).isAccepted)
    }

    @Test func `a word about what was dropped counts only for what was granted by then (rule B5)`() throws {
        let log = Log()
        self.addresses(log, [("one", "10.0.0.5/24"), ("two", "10.0.0.6/24")])
        #expect(self.start(log, "one", on: tok).isAccepted)
        #expect(self.start(log, "two", on: osk).isAccepted)
        func holding(_ group: String) throws -> ClusterState.Holding {
            try #require(log.state.holdings.first { $0.group == GroupName(group) })
        }
        let five = Claim(.address, "10.0.0.5")
        self.addresses(log, [("one", "10.0.0.7/24"), ("two", "10.0.0.5/24")])
        let before = try holding("one")
        #expect(before.surplus == [five])
        #expect(log.state.group(GroupName("two"))?.awaited == [five])
        // It is given back meanwhile: the owner may have started it again.
        self.addresses(log, [("one", "10.0.0.5/24"), ("two", "10.0.0.6/24")])
        #expect(!log.run(.dropped(before.group, before.epoch, version: before.version)).isAccepted)
        #expect(try holding("one").claims.contains(five))
        self.addresses(log, [("one", "10.0.0.7/24"), ("two", "10.0.0.5/24")])
        let after = try holding("one")
        #expect(log.run(.dropped(after.group, after.epoch, version: after.version)).isAccepted)
        #expect(try holding("two").claims.contains(five))
        #expect(log.state.group(GroupName("two"))?.awaited.isEmpty == true)
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
    }

    @Test func `a plan that is older than a wish or the epoch parks nothing`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        let (epoch, seen) = (log.epoch, log.state.appliedIndex)
        log.run(.stopped(orders, epoch, failure: nil))
        #expect(!log.run(.park(orders, .none, seenAt: seen, reason: "it failed")).isAccepted)
        log.run(.want(orders, isRunning: true))
        #expect(!log.run(.park(orders, epoch, seenAt: seen, reason: "it failed")).isAccepted)
        #expect(log.run(.park(orders, epoch, seenAt: log.state.appliedIndex, reason: "it failed")).isAccepted)
        #expect(log.state.group(orders)?.parked == "it failed")
    }

    @Test func `a failure bans its node until it is forgiven, and a later one is not forgiven with it`() throws {
        let log = Log()
        log.configure()
        log.declareAbsent()
        func fail() throws -> UInt64 {
            log.assign(tok)
            let failure = GroupFailure(resource: ResourceName("disk"), reason: "failed", isFatal: false)
            log.run(.stopped(orders, log.epoch, failure: failure))
            return try #require(log.state.group(orders)?.bans.first { $0.node == tok }?.since)
        }
        let first = try fail()
        let second = try fail()
        #expect(second > first)
        #expect(!log.run(.forgive(orders, tok, since: first)).isAccepted)
        #expect(log.state.group(orders)?.bans.count == 1)
        #expect(log.run(.forgive(orders, tok, since: second)).isAccepted)
        #expect(log.state.group(orders)?.bans.isEmpty == true)
    }
}
