import Basis
import Resources

/// What changes between two configurations, for people.
public enum PolicyDifference {
    /// One sentence per change, in the order timing, volumes, groups; empty when nothing changes.
    public static func sentences(from old: ClusterPolicy, to new: ClusterPolicy) -> [String] {
        var found: [String] = []
        found += self.change("cluster", "name", old.name, new.name)
        let sites = { (policy: ClusterPolicy) in
            policy.leaderSites.isEmpty ? "none" : Suggestion.list(policy.leaderSites)
        }
        found += self.change("cluster", "leaderSites", sites(old), sites(new))
        found += self.timing(old.timing, new.timing) + self.renamed(old, new)
        found += self.each(old.volumes, new.volumes, kind: "volume", name: { $0.name.rawValue }) { before, after in
            self.volume(before, after)
        } removed: { volume in
            "; its copies stay: " + Suggestion.list(volume.replicas.map { "\($0.backing) on \($0.node)" })
        } added: { volume in
            "\(Quantities.text(bytes: volume.sizeBytes)) on \(Suggestion.list(volume.replicas.map(\.node)))"
        }
        found += self.each(old.groups, new.groups, kind: "group", name: { $0.name.rawValue }) { before, after in
            self.group(before, after)
        } added: { group in
            "\(group.resources.count) \(group.resources.count == 1 ? "resource" : "resources") "
                + "on \(Suggestion.list(group.nodes))"
        }
        return found
    }

    private static func each<Item: Equatable>(
        _ old: [Item], _ new: [Item], kind: String, name: (Item) -> String,
        changes: (Item, Item) -> [String], removed: (Item) -> String = { _ in "" }, added: (Item) -> String
    ) -> [String] {
        var found: [String] = []
        for item in old where !new.contains(where: { name($0) == name(item) }) {
            found.append("\(kind) \(name(item)) is removed\(removed(item))")
        }
        for item in new {
            guard let before = old.first(where: { name($0) == name(item) }) else {
                found.append("\(kind) \(name(item)) is new: \(added(item))")
                continue
            }
            if before != item { found += changes(before, item).map { "\(kind) \(name(item)): \($0)" } }
        }
        return found
    }

    private static func change(_ subject: String, _ what: String, _ old: String, _ new: String) -> [String] {
        old == new ? [] : ["\(subject): \(self.change(what, old, new))"]
    }

    private static func change(_ what: String, _ old: String, _ new: String) -> String {
        "\(what) changes from \(old) to \(new)"
    }

    private static func timing(_ old: Timing, _ new: Timing) -> [String] {
        let spans: [(String, KeyPath<Timing, Span>)] = [
            ("lease", \.leaseDuration), ("grace", \.leaseGrace), ("renewal", \.renewalInterval),
            ("detection", \.detection), ("guardKill", \.guardKill), ("daemonRestart", \.daemonRestart),
        ]
        let changed = spans.flatMap { name, path in
            self.change("timing", name, Quantities.text(old[keyPath: path]), Quantities.text(new[keyPath: path]))
        }
        let rate = self.change(
            "timing", "clockRateErrorPpm", "\(old.clockRateErrorPartsPerMillion)",
            "\(new.clockRateErrorPartsPerMillion)")
        return changed + rate + self.takeover(old, new)
    }

    /// What a change of times costs when a node dies.
    private static func takeover(_ old: Timing, _ new: Timing) -> [String] {
        let (before, after) = (old.wait(forLease: old.leaseDuration), new.wait(forLease: new.leaseDuration))
        guard before != after else { return [] }
        return [
            "timing: when a node dies, its groups may start elsewhere after \(after.words); until now after \(before.words)"
        ]
    }

    /// A group that goes while one with the same content comes: to the cluster these are two.
    private static func renamed(_ old: ClusterPolicy, _ new: ClusterPolicy) -> [String] {
        let gone = old.groups.filter { new.group($0.name) == nil }
        return new.groups.filter { old.group($0.name) == nil }.compactMap { group in
            guard
                let before = gone.first(where: {
                    $0.resources == group.resources || (!$0.volumes.isEmpty && $0.volumes == group.volumes)
                })
            else { return nil }
            return "group \(before.name) seems to be renamed to \(group.name): it is stopped under the old name, and "
                + "starts under the new one once all of it has stopped"
        }
    }

    private static func volume(_ old: VolumePolicy, _ new: VolumePolicy) -> [String] {
        var found: [String] = []
        if old.sizeBytes != new.sizeBytes {
            found.append(
                self.change("size", Quantities.text(bytes: old.sizeBytes), Quantities.text(bytes: new.sizeBytes)))
        }
        if old.resyncBytesPerSecond != new.resyncBytesPerSecond {
            let text = { (rate: UInt64?) in rate.map { "\(Quantities.text(bytes: $0))/s" } ?? "no limit" }
            found.append(
                self.change("resyncRate", text(old.resyncBytesPerSecond), text(new.resyncBytesPerSecond)))
        }
        for copy in old.replicas where !new.replicas.contains(where: { $0.node == copy.node }) {
            found.append("the replica on \(copy.node) is removed; \(copy.backing) stays there")
        }
        for copy in new.replicas {
            guard let before = old.replicas.first(where: { $0.node == copy.node }) else {
                found.append("a replica on \(copy.node) is new: \(copy.backing) at \(copy.address)")
                continue
            }
            if before.backing != copy.backing {
                found.append(self.change("the backing on \(copy.node)", before.backing, copy.backing))
            }
            if before.address != copy.address {
                found.append(self.change("the address on \(copy.node)", before.address, copy.address))
            }
        }
        if found.isEmpty { found.append("the order of its replicas changes") }
        return found
    }

    private static func group(_ old: GroupPolicy, _ new: GroupPolicy) -> [String] {
        var found: [String] = []
        func compare(_ what: String, _ before: String, _ after: String) {
            if before != after { found.append(self.change(what, before, after)) }
        }
        compare("nodes", "[\(old.nodes.joined(separator: ", "))]", "[\(new.nodes.joined(separator: ", "))]")
        compare("takeover", old.takeover.rawValue, new.takeover.rawValue)
        compare("failback", "\(old.failback)", "\(new.failback)")
        compare("restart attempts", "\(old.restartAttempts)", "\(new.restartAttempts)")
        compare("restart window", Quantities.text(old.restartWindow), Quantities.text(new.restartWindow))
        compare("maximum moves", "\(old.maximumMoves)", "\(new.maximumMoves)")
        compare("undeadWait", Quantities.text(old.undeadWait), Quantities.text(new.undeadWait))
        compare("moves window", Quantities.text(old.moveWindow), Quantities.text(new.moveWindow))
        found += self.each(old.resources, new.resources, kind: "resource", name: { $0.name.rawValue }) {
            self.resource($0, $1)
        } added: {
            "agent \($0.agent)"
        }
        let kept = { (from: [ResourcePolicy], other: [ResourcePolicy]) in
            from.map(\.name).filter { name in other.contains { $0.name == name } }
        }
        if kept(old.resources, new.resources) != kept(new.resources, old.resources) {
            found.append("the order of its resources changes to \(Suggestion.list(new.resources.map(\.name.rawValue)))")
        }
        return found
    }

    private static func resource(_ old: ResourcePolicy, _ new: ResourcePolicy) -> [String] {
        var found: [String] = []
        func compare(_ what: String, _ before: String?, _ after: String?) {
            switch (before, after) {
            case (let before?, let after?) where before != after: found.append(self.change(what, before, after))
            case (nil, let after?): found.append("\(what) is new: \(after)")
            case (.some, nil): found.append("\(what) is removed")
            default: break
            }
        }
        compare("agent", old.agent, new.agent)
        // What a parameter says may be a secret; where it stands is none.
        let said = { (resource: ResourcePolicy, key: String) -> String? in
            resource.parameters.first { $0.key == key }.map { $0.isFile ? "what is in \($0.value)" : $0.value }
        }
        for key in Set((old.parameters + new.parameters).map(\.key)).sorted() {
            compare(key, said(old, key), said(new, key))
        }
        compare("killable", "\(old.isDeclaredKillable)", "\(new.isDeclaredKillable)")
        compare("startTimeout", Quantities.text(old.startTimeout), Quantities.text(new.startTimeout))
        compare("stopTimeout", Quantities.text(old.stopTimeout), Quantities.text(new.stopTimeout))
        compare("checkInterval", Quantities.text(old.monitorInterval), Quantities.text(new.monitorInterval))
        compare("checkTimeout", Quantities.text(old.monitorTimeout), Quantities.text(new.monitorTimeout))
        return found
    }
}
