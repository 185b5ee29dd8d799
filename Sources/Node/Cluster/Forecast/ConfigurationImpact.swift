import Basis
import Resources

/// What a new configuration does to what runs, and what it makes vanish. Pure: `plan` and `apply` show it, and ask for it.
public struct ConfigurationImpact: Equatable, Sendable {
    /// A group that is down for a while, or for good.
    public struct Interruption: Equatable, Sendable {
        /// How it is interrupted.
        public enum Kind: Equatable, Sendable {
            /// These resources are stopped and started where they run, in the order given.
            case restart(stopping: [ResourceName], starting: [ResourceName])
            /// It is stopped here and started on another node.
            case move(to: String?)
            /// It is stopped, and is no longer in the configuration.
            case removal
        }
        /// The group.
        public var group: GroupName
        /// Where it runs now.
        public var node: String
        /// How it is interrupted.
        public var kind: Kind
        /// The most that its stops may take: their timeouts together.
        public var stopLimit: Span
        /// The most that its starts may take; zero if it starts no more.
        public var startLimit: Span
    }

    /// In the order of names.
    public private(set) var interruptions: [Interruption] = []
    /// Groups, volumes and copies that are no longer there, in words. Files of copies stay where they are.
    public private(set) var removals: [String] = []
    /// Groups that the change touches: new, changed, removed, or using a volume that is. Sorted.
    public private(set) var touched: [GroupName] = []

    /// Compares what lives under `state` with what `policy` asks for. `releases` are the groups that the planner would stop
    /// where they run, with the node that they would go to if it is known.
    public init(from state: ClusterState, to policy: ClusterPolicy, releases: [(group: GroupName, target: String?)]) {
        for record in state.groups {
            guard let assignment = record.assignment, let old = state.policy(of: record) else { continue }
            let node = state.name(of: assignment.node)
            guard let new = policy.group(record.name) else {
                self.interrupt(record.name, node, .removal, stopping: old.resources, starting: [])
                continue
            }
            if let release = releases.first(where: { $0.group == record.name }) {
                let kind = Interruption.Kind.move(to: release.target)
                self.interrupt(record.name, node, kind, stopping: old.resources, starting: new.resources)
                continue
            }
            let kept = ResourcePolicy.commonStart(old.resources, new.resources)
            let (stopped, started) = (Array(old.resources[kept...]), Array(new.resources[kept...]))
            guard !stopped.isEmpty || !started.isEmpty else { continue }
            let kind = Interruption.Kind.restart(
                stopping: stopped.reversed().map(\.name), starting: started.map(\.name))
            self.interrupt(record.name, node, kind, stopping: stopped, starting: started)
        }
        self.findRemovals(from: state.policy, to: policy)
        self.findTouched(from: state.policy, to: policy)
    }

    private mutating func interrupt(
        _ group: GroupName, _ node: String, _ kind: Interruption.Kind, stopping: [ResourcePolicy],
        starting: [ResourcePolicy]
    ) {
        self.interruptions.append(
            Interruption(
                group: group, node: node, kind: kind,
                stopLimit: stopping.reduce(.zero) { $0 + $1.stopTimeout },
                startLimit: starting.reduce(.zero) { $0 + $1.startTimeout }))
    }

    private mutating func findRemovals(from old: ClusterPolicy, to new: ClusterPolicy) {
        for group in old.groups where new.group(group.name) == nil {
            self.removals.append("the group \(group.name)")
        }
        for volume in old.volumes {
            guard let after = new.volume(volume.name) else {
                let places = volume.replicas.map { "\($0.backing) on \($0.node)" }.joined(separator: ", ")
                self.removals.append("the volume \(volume.name); its copies stay as files: \(places)")
                continue
            }
            for replica in volume.replicas where !after.replicas.contains(where: { $0.node == replica.node }) {
                self.removals.append(
                    "the copy of \(volume.name) on \(replica.node); it stays as a file: \(replica.backing)")
            }
        }
    }

    private mutating func findTouched(from old: ClusterPolicy, to new: ClusterPolicy) {
        let volumes = Set((old.volumes + new.volumes).map(\.name)).filter { old.volume($0) != new.volume($0) }
        var names: Set<GroupName> = []
        for group in old.groups + new.groups {
            let isChanged = old.group(group.name) != new.group(group.name)
            if isChanged || group.volumes.contains(where: { volumes.contains($0) }) { names.insert(group.name) }
        }
        self.touched = names.sorted()
    }
}

extension ConfigurationImpact.Interruption {
    /// `db and ip of orders stop and start again on tok-1: at most 4 min`.
    public var sentence: String {
        let stops = "its stops may take \(self.stopLimit.words) together"
        let all = "at most \((self.stopLimit + self.startLimit).words) if every timeout is used up"
        switch self.kind {
        case .removal: return "\(self.group) stops on \(self.node) for good: \(stops)"
        case .move(let target):
            let place = target.map { "starts on \($0)" } ?? "starts on another node"
            return "\(self.group) is down while it stops on \(self.node) and \(place): \(all)"
        case .restart(let stopping, let starting):
            let stopped = stopping.map(\.rawValue).joined(separator: ", ")
            let started = starting.map(\.rawValue).joined(separator: ", ")
            if stopping.isEmpty { return "\(self.group) starts \(started) on \(self.node); nothing of it stops" }
            if starting.isEmpty { return "\(self.group) stops \(stopped) on \(self.node): \(stops)" }
            return "\(stopped) of \(self.group) is down on \(self.node) until \(started) has started: \(all)"
        }
    }
}
