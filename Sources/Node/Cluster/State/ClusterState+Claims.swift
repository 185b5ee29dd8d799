import Basis
import Resources

/// All that is held, by what it is: who meets a claim is found without looking at everything.
public struct ClaimIndex: Sendable {
    private var exact: [Claim: [Int]] = [:]
    /// What lies below a directory, with its place.
    private var below: [String: [(place: Int, claim: Claim)]] = [:]

    /// Indexes holdings by their places in the list. Left out are the services that their groups are configured to have:
    /// two groups may be told to run the same command, and hundreds may be.
    init(_ holdings: [ClusterState.Holding], configured: (GroupName) -> [Claim]) {
        for (place, holding) in holdings.enumerated() {
            let own = holding.claims.contains { $0.kind == .service } ? configured(holding.group) : []
            for claim in holding.claims where claim.kind != .service || !own.contains(claim) {
                self.exact[claim, default: []].append(place)
                guard claim.kind == .mount else { continue }
                for outer in Self.outer(claim.text) { self.below[outer, default: []].append((place, claim)) }
            }
        }
    }

    /// What is held and meets any of these, with the place of its holding; in the order of the places.
    func meeting(_ wanted: [Claim]) -> [(Int, Claim)] {
        var found: [(Int, Claim)] = []
        func add(_ claim: Claim) { for place in self.exact[claim] ?? [] { found.append((place, claim)) } }
        for claim in wanted {
            add(claim)
            guard claim.kind == .mount else { continue }
            for outer in Self.outer(claim.text) { add(Claim(.mount, outer)) }
            for inner in self.below[claim.text] ?? [] { found.append((inner.place, inner.claim)) }
        }
        return found.sorted { $0 < $1 }
    }

    /// The directories above one.
    private static func outer(_ path: String) -> [String] {
        var found: [String] = []
        var rest = path[...]
        while rest.count > 1, let slash = rest.lastIndex(of: "/") {
            rest = rest[..<slash]
            found.append(rest.isEmpty ? "/" : String(rest))
        }
        return found
    }
}

/// Who may hold what: a claim is granted only when no life that may still hold it is left. (Rules B5, B5.1, B5.2)
extension ClusterState {
    /// Somebody who holds what a group wants.
    public struct Holder: Equatable, Sendable {
        /// What it holds.
        public var claim: Claim
        /// The group that holds it.
        public var group: GroupName
        /// Where.
        public var node: NodeID
        /// That group is configured to hold it; else it is about to stop, or to drop it.
        public var isConfigured: Bool
    }

    // MARK: Looking

    /// All that is held now, to be made once for many looks.
    public var claimIndex: ClaimIndex {
        ClaimIndex(self.holdings) { self.policy.group($0).map { Claim.all(of: $0.resources) } ?? [] }
    }

    /// Who may still hold what the group wants, in the whole cluster; nil when all of it is free. Its own earlier lives do
    /// not count: only its own owner may share with them. (Rule B5.1)
    ///
    /// Directories and services concern a group that never ran, beside another that is no longer to have them: the same
    /// under another name. `wanted` is all that it is configured to have, `index` spares looking through all that is held.
    public func holder(against record: GroupRecord, _ wanted: [Claim], _ index: ClaimIndex) -> Holder? {
        for (place, held) in index.meeting(wanted) {
            let holding = self.holdings[place]
            guard holding.group != record.name, held.isExclusive || record.epoch == .none else { continue }
            let isConfigured = self.isConfigured(held, in: holding.group)
            guard held.isExclusive || !isConfigured else { continue }
            return Holder(claim: held, group: holding.group, node: holding.node, isConfigured: isConfigured)
        }
        return nil
    }

    /// Who else may hold a directory on this node that meets one of the group's. (Rule B5)
    public func holder(
        against record: GroupRecord, _ wanted: [Claim], on node: NodeID, _ index: ClaimIndex
    ) -> Holder? {
        self.holder(of: wanted.filter { $0.kind == .mount }, on: node, besides: record.name, index)
    }

    /// Who else holds any of these where it cannot be shared: anywhere, or a directory on this node.
    private func holder(of wanted: [Claim], on node: NodeID, besides group: GroupName, _ index: ClaimIndex) -> Holder? {
        for (place, held) in index.meeting(wanted) {
            let holding = self.holdings[place]
            guard holding.group != group, held.isExclusive || (held.kind == .mount && holding.node == node) else {
                continue
            }
            return Holder(
                claim: held, group: holding.group, node: holding.node,
                isConfigured: self.isConfigured(held, in: holding.group))
        }
        return nil
    }

    private func isConfigured(_ claim: Claim, in group: GroupName) -> Bool {
        self.policy.group(group).map { Claim.all(of: $0.resources).contains { $0.meets(claim) } } ?? false
    }

    /// `the address 10.9.0.100 is held by shop on tok-1 until that has stopped`.
    public func sentence(_ holder: Holder) -> String {
        let place = "\(holder.group) on \(self.name(of: holder.node))"
        return holder.isConfigured
            ? "\(holder.claim.words) is held by \(place), which is configured to have it too"
            : "\(holder.claim.words) is held by \(place) until that has stopped, or its life has certainly ended (B5)"
    }

    /// The resources that a group's owner may run now: those before the first that waits for somebody else. (Rule B5)
    public func granted(_ policy: GroupPolicy, _ record: GroupRecord) -> GroupPolicy {
        guard !record.awaited.isEmpty else { return policy }
        var granted = policy
        let waits = policy.resources.firstIndex { resource in
            Claim.claims(of: resource).contains { record.awaited.contains($0) }
        }
        if let waits { granted.resources.removeSubrange(waits...) }
        return granted
    }

    // MARK: Granting and ending

    /// Why an assignment must wait; nil when all that the group wants is free.
    func claimObjection(_ record: GroupRecord, _ policy: GroupPolicy, on node: NodeID) -> String? {
        let (wanted, index) = (Claim.all(of: policy.resources), self.claimIndex)
        return (self.holder(against: record, wanted, index) ?? self.holder(against: record, wanted, on: node, index))
            .map(self.sentence)
    }

    /// An assignment holds from here on what its group is configured to have.
    mutating func hold(
        _ policy: GroupPolicy, _ epoch: Epoch, _ node: NodeID, _ incarnation: Incarnation
    ) {
        self.holdings.append(
            Holding(
                group: policy.name, epoch: epoch, node: node, incarnation: incarnation,
                claims: Claim.all(of: policy.resources)))
        self.holdings.sort { ($0.group, $0.epoch) < ($1.group, $1.epoch) }
    }

    /// These assignments hold nothing any more; who waited for it may have it.
    mutating func endHoldings(where isOver: (Holding) -> Bool) {
        let before = self.holdings.count
        self.holdings.removeAll(where: isOver)
        if self.holdings.count != before { self.grantAwaited() }
    }

    /// A new configuration: what a running group adds it gets if it is free, what it no longer has it holds until its owner
    /// says that it was dropped.
    mutating func reclaim() {
        for place in self.groups.indices {
            self.groups[place].awaited = []
            let record = self.groups[place]
            guard let assignment = record.assignment, assignment.releasing == nil,
                let policy = self.policy.group(record.name),
                let held = self.holdings.firstIndex(where: { $0.group == record.name && $0.epoch == record.epoch })
            else { continue }
            let wanted = Claim.all(of: policy.resources)
            self.holdings[held].version += 1
            self.holdings[held].surplus = self.holdings[held].claims.filter { !wanted.contains($0) }
            self.groups[place].awaited = wanted.filter { !self.holdings[held].claims.contains($0) }
        }
        self.grantAwaited()
    }

    /// Gives running groups what they wait for and nobody holds any more, in the order of names.
    private mutating func grantAwaited() {
        for place in self.groups.indices where !self.groups[place].awaited.isEmpty {
            let record = self.groups[place]
            let index = self.claimIndex
            guard record.assignment != nil,
                let held = self.holdings.firstIndex(where: { $0.group == record.name && $0.epoch == record.epoch })
            else { continue }
            let node = self.holdings[held].node
            let free = record.awaited.filter { self.holder(of: [$0], on: node, besides: record.name, index) == nil }
            guard !free.isEmpty else { continue }
            self.holdings[held].claims = (self.holdings[held].claims + free).sorted()
            self.holdings[held].version += 1
            self.groups[place].awaited.removeAll { free.contains($0) }
            self.touched.names.append(record.name)
        }
    }

    /// The owner has stopped what the configuration no longer has. Refused when it was granted something since: that may
    /// be the same. (Rule B5)
    mutating func applyDropped(_ group: GroupName, _ epoch: Epoch, _ version: UInt64) -> Outcome {
        guard let place = self.holdings.firstIndex(where: { $0.group == group && $0.epoch == epoch }) else {
            return .refused(.over("\(group): the epoch is over"))
        }
        guard self.holdings[place].version == version else {
            return .refused(.over("\(group): what it is to have changed meanwhile"))
        }
        let surplus = self.holdings[place].surplus
        self.holdings[place].claims.removeAll { surplus.contains($0) }
        self.holdings[place].surplus = []
        self.grantAwaited()
        return .accepted
    }
}
