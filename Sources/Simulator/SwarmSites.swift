import Basis
import Cluster
import Raft
import Resources

/// What some features' operators do has chance of its own, so that seeds without them mean what they meant.
struct Operators {
    var sites: LeaderSites
    var pauses: AnnouncedPauses

    init(seed: UInt64) {
        self.sites = LeaderSites(random: SeededRandom(seed: seed ^ 0x7369_7465_7300_0001))
        self.pauses = AnnouncedPauses(random: SeededRandom(seed: seed ^ 0x7061_7573_6573_0001))
    }
}

/// Rule C11 once more, by what shows from outside: how long a leader has to lead before it may leave its place to a site that is
/// preferred.
struct LeaderSites {
    var random: SeededRandom
    private var leads: [NodeID: Lead] = [:]
    /// The most handovers of any one node: each may have doubled how long it waits.
    private(set) var mostHandovers = 0

    private struct Lead {
        let daemon: SimulatedDaemon
        /// By the node's own clock; nil where nobody knows, because the machine was taken back.
        var since: Tick?
        var handedOverAt: Tick?
        /// It leads at least so long.
        var pause = LeaderSites.shortestPause
        var handovers = 0
    }

    static let shortestPause = Span.seconds(30)
    static let longestPause = Span.seconds(3600)
    /// Who leads again within that waits twice as long.
    private static let trial = Span.seconds(600)

    init(random: SeededRandom) { self.random = random }

    mutating func began(_ node: NodeID, _ daemon: SimulatedDaemon, at tick: Tick, isKnown: Bool) {
        var lead = self.leads[node].flatMap { $0.daemon === daemon ? $0 : nil } ?? Lead(daemon: daemon)
        lead.since = isKnown ? tick : nil
        if let before = lead.handedOverAt {
            lead.pause =
                tick.since(before) < Self.trial ? min(lead.pause * 2, Self.longestPause) : Self.shortestPause
            lead.handedOverAt = nil
        }
        self.leads[node] = lead
    }

    /// What is wrong with it that this daemon leaves its place now; nil when nothing is.
    mutating func handsOver(_ node: NodeID, _ daemon: SimulatedDaemon, at tick: Tick) -> String? {
        guard var lead = self.leads[node], lead.daemon === daemon else { return nil }
        lead.handedOverAt = tick
        lead.handovers += 1
        self.mostHandovers = max(self.mostHandovers, lead.handovers)
        self.leads[node] = lead
        guard let since = lead.since, tick.since(since) < lead.pause else { return nil }
        return "it has led for \(tick.since(since)), and had to for \(lead.pause)"
    }

    /// Some of these sites, in any order; now and then one that nobody is in, and none.
    mutating func draw(_ known: [String]) -> [String] {
        var sites = known + (self.random.chance(perMille: 200) ? ["nowhere"] : [])
        for place in sites.indices.reversed() { sites.swapAt(place, Int(self.random.below(UInt64(place) + 1))) }
        return Array(sites.prefix(Int(self.random.below(UInt64(sites.count) + 1))))
    }
}

/// Operators say in which sites a node is to lead, and change their mind. (Rule C11)
extension Simulation {
    func preferSites() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        let pause = self.operators.sites.random.span(.seconds(5), .seconds(240)).nanoseconds
        self.queue.add(.swarm(.preferSites), at: self.now + pause)
        let node = self.anyNode(&self.operators.sites.random)
        guard let state = node.daemon?.supervisor.state, self.now >= node.scheduledFrom, state.policyIndex != .zero
        else { return }
        var policy = state.policy
        policy.leaderSites = self.operators.sites.draw(Self.sites(of: state))
        guard policy != state.policy else { return }
        self.count("leader sites asked for")
        self.ask(.configure(policy, text: "", expectedIndex: state.policyIndex), of: node)
    }

    private static func sites(of state: ClusterState) -> [String] {
        var sites: [String] = []
        for node in state.nodes where !sites.contains(node.about.site) { sites.append(node.about.site) }
        return sites
    }

    func beginsToLead(_ id: NodeID, _ daemon: SimulatedDaemon) {
        let node = self.node(id)
        self.operators.sites.began(id, daemon, at: node.tick(at: self.now), isKnown: !node.wasTakenBack)
    }

    func handsOver(_ node: SimulatedNode, _ daemon: SimulatedDaemon, to other: NodeID) {
        guard self.swarm.has(.sites) else { return }
        self.count("leaders that left their place to a preferred site")
        if let early = self.operators.sites.handsOver(node.id, daemon, at: node.tick(at: self.now)) {
            self.fail("PreferredLeader: \(node.name) leaves its place to \(other), but \(early)")
        }
        let state = daemon.supervisor.state
        let rank = { (id: NodeID) in self.rank(of: id, in: state) }
        if rank(other) >= rank(node.id) {
            self.fail(
                "PreferredLeader: \(node.name) leaves its place to \(other), whose site does not come before its own")
        }
        // With all well for a minute there is no reason but the order of sites.
        guard self.swarm.isOver, self.now >= self.options.length.nanoseconds + 60_000_000_000 else { return }
        let best = self.mayLead(daemon).map { rank($0) }.min() ?? .max
        if rank(other) > best {
            self.fail("PreferredLeader: \(node.name) leaves its place to \(other), although others come before it")
        }
    }

    private func rank(of id: NodeID, in state: ClusterState) -> Int {
        let sites = state.policy.leaderSites
        return state.node(id).flatMap { sites.firstIndex(of: $0.about.site) } ?? sites.count
    }

    /// The voters that could lead: no witness, and nobody wants them to leave.
    private func mayLead(_ daemon: SimulatedDaemon) -> [NodeID] {
        let membership = daemon.supervisor.consensus.membership
        return membership.voters.filter { voter in
            guard let record = daemon.supervisor.state.node(voter), !membership.witnesses.contains(voter) else {
                return false
            }
            return record.about.role == .member && !record.isDrained && !record.isRetiring && !record.isDeparting
                && record.standing == .trusted
        }
    }

    private var leaders: [SimulatedNode] {
        self.nodes.filter { $0.isOn && $0.daemon?.supervisor.consensus.isLeader == true }
    }

    private var isPreferredLeading: Bool {
        guard let leader = self.leaders.first, let daemon = leader.daemon, self.leaders.count == 1 else { return false }
        let state = daemon.supervisor.state
        guard let best = self.mayLead(daemon).map({ self.rank(of: $0, in: state) }).min() else { return true }
        return self.rank(of: leader.id, in: state) <= best
    }

    /// PreferredLeader: with all well the voter leads whose site comes first, and goes on to.
    func checkPreferredLeader() {
        guard self.violation == nil, self.swarm.has(.sites) else { return }
        self.wishForAnotherLeader()
        // However often somebody led in vain: what it waits has doubled as often.
        let doublings = UInt64(1) << UInt64(min(self.operators.sites.mostHandovers, 7))
        let patience = min(LeaderSites.shortestPause * doublings, LeaderSites.longestPause)
        let end = self.now + patience.nanoseconds + 45_000_000_000
        while self.violation == nil, self.now < end, !self.isPreferredLeading {
            self.advance(to: self.now + 1_000_000_000)
        }
        guard self.violation == nil else { return }
        guard self.isPreferredLeading, let leader = self.leaders.first,
            let policy = leader.daemon?.supervisor.state.policy
        else {
            let all = self.leaders.map { "\($0.name) of \(self.about($0).site)" }
            return self.fail("PreferredLeader: \(all) leads although all are well for \(patience)")
        }
        self.count(policy.leaderSites.isEmpty ? "leaders in any site" : "leaders in a preferred site")
        self.advance(to: self.now + 40_000_000_000)
        if self.violation == nil, self.leaders.map(\.id) != [leader.id] {
            self.fail(
                "PreferredLeader: \(self.leaders.map(\.name)) leads soon after \(leader.name), although all are well")
        }
    }

    /// Mostly it is another one that is to lead in the end.
    private func wishForAnotherLeader() {
        guard self.operators.sites.random.chance(perMille: 700), let leader = self.leaders.first,
            let daemon = leader.daemon
        else { return }
        let state = daemon.supervisor.state
        let own = state.node(leader.id)?.about.site
        let others = self.mayLead(daemon).compactMap { state.node($0)?.about.site }.filter { $0 != own }
        guard !others.isEmpty else { return }
        var policy = state.policy
        policy.leaderSites = [others[Int(self.operators.sites.random.below(UInt64(others.count)))]]
        self.operate(.configure(policy, text: "", expectedIndex: state.policyIndex))
        self.advance(to: self.now + 2_000_000_000)
    }
}
