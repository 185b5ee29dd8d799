import Basis
import ClusterConfiguration
import Reports

/// `holdfast status` as text.
struct StatusText {
    let report: StatusReport
    var style = Style(isOn: false)
    var isVerbose = false

    /// The whole page; ends with a line feed.
    func render() -> String {
        var lines = self.style.wrapped(self.firstLine)
        lines += self.report.reasons.flatMap { self.prose($0, .warning, indent: "  ") }
        if self.report.hasQuorum, let bound = self.report.boundSeconds, self.report.survivesFailures > 0 {
            let worst = "at worst within \(Amounts.age(bound)) (all start timeouts used up)"
            let usual = self.report.usualSeconds.map { "usually runs again in about \(Amounts.age($0)), " }
            lines += self.style.wrapped("After a failure every group \(usual ?? "runs again ")\(worst).")
        }
        lines += self.report.warnings.flatMap { self.style.wrapped(self.style.paint("Warning:", .warning) + " " + $0) }
        lines += self.report.notes.flatMap { self.prose("Note: \($0)", .quiet) }
        lines.append("")
        lines += self.nodes.lines(style: self.style) + self.programs
        if !self.report.groups.isEmpty { lines += [""] + self.groups.lines(style: self.style) + self.resources }
        if !self.report.volumes.isEmpty {
            lines += [""] + VolumeText(volumes: self.report.volumes, style: self.style).table.lines(style: self.style)
        }
        if self.report.groups.isEmpty, self.report.volumes.isEmpty {
            lines += ["", "No groups yet. Describe them in cluster.yaml, then run `holdfast apply cluster.yaml`."]
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A sentence in one colour, each of its lines painted for itself.
    private func prose(_ text: String, _ tone: Style.Tone, indent: String = "") -> [String] {
        self.style.wrapped(text, indent: indent).map { line in
            let blanks = line.prefix { $0 == " " }
            return blanks + self.style.paint(String(line.dropFirst(blanks.count)), tone)
        }
    }

    /// Answers "am I safe?".
    var firstLine: String {
        let word =
            switch self.report.health {
            case .healthy: "is " + self.style.paint("healthy", .good)
            case .degraded: "is " + self.style.paint("degraded", .warning)
            case .down: "is " + self.style.paint("down", .bad)
            case .noQuorum: "has " + self.style.paint("no quorum", .bad)
            }
        let leader = self.report.leader.map { "Leader \($0) (term \(self.report.term))." } ?? "No leader."
        let age = Amounts.age(self.report.servedAgeSeconds)
        return "\(self.report.cluster) \(word): \(self.report.healthSentence). \(leader) "
            + "Served by \(self.report.servedBy), \(age) old."
    }

    private var nodes: Table {
        let hasLabels = self.report.nodes.contains { $0.labels != nil }
        var table = Table(
            ["NODE", "SITE", "ROLE", "STATE", "FOR", "LEASE", "HEARD", "BEHIND"]
                + (self.showsVersions ? ["VERSION"] : [])
                + (hasLabels ? ["LABELS"] : []) + ["REASON"])
        for node in self.report.nodes {
            let tone: Style.Tone =
                switch node.state {
                case .up: node.drained ? .warning : .good
                case .suspected: .warning
                case .lost: .bad
                case .never: .quiet
                }
            let labels = (node.labels ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            var cells: [Table.Cell] = [
                .init(text: node.name, tone: .strong),
                .init(text: node.site),
                .init(text: node.role.rawValue + (node.isLeader ? ", leader" : "")),
                .init(text: node.state.rawValue + (node.drained ? ", drained" : ""), tone: tone),
                .init(text: node.sinceSeconds.map { Amounts.age($0) } ?? ""),
                .init(text: node.leaseRemainingSeconds.map { Amounts.age($0) } ?? ""),
                .init(text: node.lastHeardSeconds.map { Amounts.age($0) + " ago" } ?? ""),
                .init(
                    text: node.appliedIndexLag.flatMap { $0 == 0 ? nil : $0 == 1 ? "1 entry" : "\($0) entries" } ?? ""),
            ]
            if self.showsVersions { cells.append(.init(text: Self.version(of: node))) }
            if hasLabels { cells.append(.init(text: labels.joined(separator: " "))) }
            table.add(cells + [.init(text: node.reason)])
        }
        return table
    }

    private var groups: Table {
        var table = Table(["GROUP", "STATE", "OWNER", "EPOCH", "FOR", "CHECKED", "REASON"])
        for group in self.report.groups {
            let oldest = group.resources.compactMap(\.checkedSecondsAgo).max()
            table.add([
                .init(text: group.name, tone: .strong),
                .init(text: group.state.rawValue, tone: Self.tone(group.state)),
                .init(text: group.owner ?? "none"),
                .init(text: group.epoch),
                .init(text: group.sinceSeconds.map { Amounts.age($0) } ?? ""),
                .init(text: oldest.map { Amounts.age($0) + " ago" } ?? ""),
                .init(text: group.reason),
            ])
        }
        return table
    }

    static func tone(_ state: GroupReport.State) -> Style.Tone {
        switch state {
        case .running: .good
        case .starting, .stopping, .moving, .waiting: .warning
        case .stopped: .quiet
        case .parked, .failed: .bad
        }
    }

    /// The resources that say something; all of them when verbose.
    private var resources: [String] {
        var table = Table(["RESOURCE", "AGENT", "STATE", "CHECKED", "REASON"])
        var isEmpty = true
        for group in self.report.groups {
            for resource in group.resources {
                let worthIt = resource.state == .failed || resource.state == .degraded || resource.reason != nil
                guard self.isVerbose || worthIt else { continue }
                isEmpty = false
                let tone: Style.Tone =
                    switch resource.state {
                    case .running: .good
                    case .failed: .bad
                    case .stopped, .unknown: .quiet
                    case .degraded, .starting, .stopping: .warning
                    }
                table.add([
                    .init(text: "\(group.name)/\(resource.name)"), .init(text: resource.agent),
                    .init(text: resource.state.rawValue, tone: tone),
                    .init(text: resource.checkedSecondsAgo.map { Amounts.age($0) + " ago" } ?? ""),
                    .init(text: resource.reason ?? ""),
                ])
            }
        }
        return isEmpty ? [] : [""] + table.lines(style: self.style)
    }
}

/// Volumes as text.
struct VolumeText {
    let volumes: [VolumeReport]
    var style = Style(isOn: false)

    /// One row per volume, for `status`.
    var table: Table {
        var table = Table(["VOLUME", "SIZE", "OWNER", "EPOCH", "COPIES"])
        for volume in self.volumes {
            let allGood = volume.replicas.allSatisfy { $0.inSync }
            table.add([
                .init(text: volume.name, tone: .strong), .init(text: Quantities.text(bytes: volume.sizeBytes)),
                .init(text: volume.owner ?? "none"), .init(text: volume.epoch),
                .init(
                    text: volume.replicas.map { "\($0.node) \(Self.standing($0))" }.joined(separator: ", "),
                    tone: allGood ? .good : .warning),
            ])
        }
        return table
    }

    /// `in sync`, `75 % resynced`, `away`, ….
    static func standing(_ replica: ReplicaReport) -> String {
        if replica.resyncTotalBytes > 0, replica.connected || replica.role == .owner {
            let done = replica.resyncTotalBytes - min(replica.resyncRemainingBytes, replica.resyncTotalBytes)
            return "\(Int(Double(done) / Double(replica.resyncTotalBytes) * 100)) % resynced"
        }
        if replica.role == .failed { return "failed" }
        if replica.inSync { return replica.connected || replica.role == .owner ? "in sync" : "in sync, not connected" }
        return replica.connected ? "not in sync" : "away"
    }

    /// One section per volume, for `volume status`.
    func render() -> String {
        guard !self.volumes.isEmpty else {
            return "No volumes. Describe them in cluster.yaml, then run `holdfast apply cluster.yaml`.\n"
        }
        var lines: [String] = []
        for volume in self.volumes {
            if !lines.isEmpty { lines.append("") }
            let owner = volume.owner.map { "exported by \($0) in epoch \(volume.epoch)" } ?? "not exported"
            let carrier = volume.carrier.map { " as \($0)" } ?? ""
            let growth = volume.growsToBytes.map {
                " (\(Quantities.text(bytes: $0)) once every copy has room; with a copy on a device, when it is next opened)"
            }
            lines.append(
                "\(self.style.paint(volume.name, .strong)): \(Quantities.text(bytes: volume.sizeBytes))\(growth ?? ""), "
                    + "\(owner)\(carrier), set version \(volume.setVersion)")
            if volume.writtenBytes > 0 || volume.sentBytes > 0 {
                let saved =
                    volume.sentBytes > volume.sentCompressedBytes && volume.sentCompressedBytes > 0
                    ? " (\(Amounts.bytes(volume.sentCompressedBytes)) after compression)" : ""
                lines.append(
                    "  \(Amounts.bytes(volume.writtenBytes)) written, \(Amounts.bytes(volume.sentBytes)) sent\(saved)")
            }
            var table = Table(["COPY", "ROLE", "STANDING", "LINK", "DIRTY", "TO COMPARE", "REASON"])
            for replica in volume.replicas {
                table.add([
                    .init(text: replica.node), .init(text: replica.role.rawValue),
                    .init(text: Self.standing(replica), tone: replica.inSync ? .good : .warning),
                    .init(text: replica.role == .owner ? "" : replica.connected ? "up" : "down"),
                    .init(text: replica.dirtyBytes > 0 ? Amounts.bytes(replica.dirtyBytes) : ""),
                    .init(
                        text: replica.resyncTotalBytes > 0
                            ? "\(Amounts.bytes(replica.resyncRemainingBytes)) of \(Amounts.bytes(replica.resyncTotalBytes))"
                            : ""),
                    .init(text: replica.reason),
                ])
            }
            lines += table.lines(style: self.style, indent: "  ")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
