import Basis
import Resources

/// The sections of the document, each read as far as it can be: what is broken gets a stand-in value and a problem.
extension ConfigurationReading {
    mutating func readCluster(_ tree: DocumentTree, clusterName: String?) -> ClusterPolicy {
        guard let fields = self.fields(tree, path: "", known: ConfigurationKeys.document, example: "cluster: prod")
        else {
            return ClusterPolicy(name: "")
        }
        let name = self.requiredText(fields, "cluster", example: clusterName ?? "prod") ?? ""
        if !name.isEmpty, self.checkName(name, self.place("cluster"), path: "cluster"), let clusterName,
            clusterName != name
        {
            self.problem(
                at: "cluster", "this cluster is called `\(clusterName)`, and its name never changes",
                "write `cluster: \(clusterName)`, or apply the document to the cluster it was written for")
        }
        let leaderSites = self.readLeaderSites(fields)
        let timing = fields.value("timing").map { self.readTiming($0) } ?? .standard
        var volumes: [VolumePolicy] = []
        if let tree = fields.value("volumes"),
            let section = self.fields(tree, path: "volumes", known: nil, example: "volumes: { data: { size: 1GiB } }")
        {
            for entry in section.entries { volumes.append(self.readVolume(entry)) }
        }
        var groups: [GroupPolicy] = []
        if let tree = fields.value("groups"),
            let section = self.fields(tree, path: "groups", known: nil, example: "groups: { orders: { nodes: [a] } }")
        {
            for entry in section.entries { groups.append(self.readGroup(entry)) }
        }
        return ClusterPolicy(
            name: name, timing: timing, volumes: volumes, groups: groups, leaderSites: leaderSites)
    }

    private mutating func readLeaderSites(_ fields: Fields) -> [String] {
        let (key, example) = ("leaderSites", "leaderSites: [tokyo, osaka]")
        guard let tree = fields.value(key) else { return [] }
        self.note(key, tree.place)
        guard case .sequence(let items, _) = tree else {
            self.problem(at: key, "expected a list, not \(tree.kind)", "write it like `\(example)`")
            return []
        }
        var sites: [String] = []
        for (offset, item) in items.enumerated() {
            let path = "\(key)[\(offset)]"
            guard let name = self.text(item, path: path, example: example),
                self.checkName(name, item.place, path: path)
            else { continue }
            if sites.contains(name) {
                self.problem(at: path, "`\(name)` is already in the list", "name each site once")
                continue
            }
            sites.append(name)
            self.note("\(key)[\(name)]", item.place)
        }
        return sites
    }

    private mutating func readTiming(_ tree: DocumentTree) -> Timing {
        var timing = Timing.standard
        let known = ConfigurationKeys.timing
        guard let fields = self.fields(tree, path: "timing", known: known, example: "timing: { lease: 1.75s }")
        else { return timing }
        func set(_ key: String, _ target: WritableKeyPath<Timing, Span>, _ reading: inout ConfigurationReading) {
            let example = Quantities.text(Timing.standard[keyPath: target])
            guard let span = reading.span(fields, key, example: example) else { return }
            guard span >= .milliseconds(1), span <= .seconds(3600) else {
                reading.problem(
                    at: fields.path(key), "`\(Quantities.text(span))` is out of range",
                    "write a length from 1ms to 1h, such as `\(key): \(example)`")
                return
            }
            timing[keyPath: target] = span
        }
        set("lease", \.leaseDuration, &self)
        set("grace", \.leaseGrace, &self)
        set("renewal", \.renewalInterval, &self)
        set("detection", \.detection, &self)
        set("guardKill", \.guardKill, &self)
        set("daemonRestart", \.daemonRestart, &self)
        if let rate = self.number(fields, "clockRateErrorPpm", in: 0...50_000, example: 1000) {
            timing.clockRateErrorPartsPerMillion = UInt64(rate)
        }
        for problem in timing.problems {
            self.problem(at: "timing", problem, "change one of them, or leave `timing` out for values that fit (L13)")
        }
        return timing
    }

    private mutating func readVolume(_ entry: DocumentTree.Entry) -> VolumePolicy {
        let path = "volumes.\(entry.key)"
        self.checkName(entry.key, entry.place, path: path)
        var volume = VolumePolicy(name: VolumeName(entry.key), sizeBytes: 0, replicas: [])
        let known = ConfigurationKeys.volume
        let example = "\(entry.key): { size: 1GiB, replicas: ... }"
        guard let fields = self.fields(entry.value, path: path, known: known, example: example) else { return volume }
        volume.sizeBytes = self.readSize(fields)
        volume.resyncBytesPerSecond = self.quantity(
            fields, "resyncRate", what: "a rate", example: "50MB/s", parse: Quantities.rate)
        guard let tree = fields.value("replicas") else {
            self.missing(fields, "replicas", example: "{ NODE: { backing: /PATH, address: HOST:PORT } }")
            return volume
        }
        let replicaExample = "replicas: { NODE: { backing: /PATH, address: HOST:PORT } }"
        guard
            let replicas = self.fields(tree, path: fields.path("replicas"), known: nil, example: replicaExample)
        else { return volume }
        if replicas.entries.isEmpty {
            self.problem(replicas.place, replicas.path, "the volume has no copy", "write at least one replica")
        }
        volume.replicas = replicas.entries.map { self.readReplica($0, in: replicas) }
        return volume
    }

    private mutating func readSize(_ fields: Fields) -> UInt64 {
        if fields.value("size") == nil { self.missing(fields, "size", example: "1GiB") }
        let found = self.quantity(fields, "size", what: "a size", example: "1GiB", parse: Quantities.size)
        guard let size = found else { return 0 }
        let path = fields.path("size")
        if size < 1 << 20 {
            self.problem(at: path, "a volume of \(size) bytes is too small", "give it at least 1MiB")
        } else if size % 4096 != 0 {
            let up = (size / 4096 + 1) * 4096
            self.problem(
                at: path, "\(size) bytes are not a multiple of 4096",
                "write `size: \(Quantities.text(bytes: up))`, or a number of MiB")
        }
        return size
    }

    private mutating func readReplica(_ entry: DocumentTree.Entry, in replicas: Fields) -> VolumePolicy.Replica {
        let path = replicas.path(entry.key)
        self.checkName(entry.key, entry.place, path: path)
        var replica = VolumePolicy.Replica(node: entry.key, backing: "", address: "")
        let example = "\(entry.key): { backing: /var/lib/holdfast/data.img, address: \"10.0.0.1:7410\" }"
        guard
            let fields = self.fields(entry.value, path: path, known: ConfigurationKeys.replica, example: example)
        else { return replica }
        self.note(path, entry.place)
        if fields.value("backing") == nil { self.missing(fields, "backing", example: "/var/lib/holdfast/data.img") }
        replica.backing = self.absolutePath(fields, "backing", example: "/var/lib/holdfast/data.img") ?? ""
        if fields.value("address") == nil { self.missing(fields, "address", example: "\"10.0.0.1:7410\"") }
        replica.address =
            self.quantity(
                fields, "address", what: "a host and a port", example: "\"10.0.0.1:7410\"",
                parse: { text in Quantities.hostAndPort(text).map { _ in text } }) ?? ""
        return replica
    }
}
