import Basis
import Reports
import Resources

/// Checks what one part of the document says about another, and about the nodes.
struct ConfigurationReferences {
    let policy: ClusterPolicy
    var reading: ConfigurationReading
    let knownNodes: [KnownNode]?

    /// Finds every broken reference.
    mutating func check() {
        for site in self.policy.leaderSites { self.checkSite(site) }
        for volume in self.policy.volumes { self.checkVolume(volume) }
        for group in self.policy.groups { self.checkGroup(group) }
        self.checkReplicaClashes()
        self.checkSharedVolumes()
        self.checkSharedPlaces()
        self.checkOwnAddresses()
    }

    /// What the daemons and the volume servers listen at is no replica's port and no service's address.
    private mutating func checkOwnAddresses() {
        var daemons: [Endpoint: String] = [:]
        var hosts: [[UInt8]: String] = [:]
        for node in self.knownNodes ?? [] {
            guard let endpoint = Endpoint(node.address) else { continue }
            daemons[endpoint] = node.name
            if let bytes = endpoint.bytes { hosts[bytes] = node.name }
        }
        for volume in self.policy.volumes {
            for replica in volume.replicas {
                guard let endpoint = Endpoint(replica.address) else { continue }
                if let bytes = endpoint.bytes, hosts[bytes] == nil { hosts[bytes] = replica.node }
                guard let node = daemons[endpoint] else { continue }
                self.reading.problem(
                    at: "volumes.\(volume.name).replicas.\(replica.node).address",
                    "the daemon of `\(node)` listens at `\(replica.address)`", "give the replica a port of its own")
            }
        }
        for group in self.policy.groups {
            for resource in group.resources where resource.kind == .address {
                guard let text = resource.parameter("address"), let bytes = Quantities.network(text)?.address,
                    let node = hosts[bytes]
                else { continue }
                self.reading.problem(
                    at: "groups.\(group.name).resources[\(resource.name)].address",
                    "`\(text)` is `\(node)`'s own address, which no group may take away",
                    "give the service an address of its own")
            }
        }
    }

    /// Where something listens, however it is written.
    private struct Endpoint: Hashable {
        var name: String
        /// The bytes of the address, unless it has a name.
        var bytes: [UInt8]?
        var port: UInt16

        init?(_ text: String) {
            guard let (host, port) = Quantities.hostAndPort(text) else { return nil }
            self.bytes = Quantities.addressBytes(host)
            self.name = self.bytes == nil ? host.lowercased() : ""
            self.port = port
        }
    }

    private mutating func checkSite(_ name: String) {
        guard let knownNodes, !knownNodes.contains(where: { $0.site == name }) else { return }
        let sites = Set(knownNodes.map(\.site)).sorted()
        self.reading.problem(
            at: "leaderSites[\(name)]", "no node is in a site `\(name)`",
            Suggestion.remedy(for: name, among: sites, otherwise: "let a node of it join first"))
    }

    private mutating func checkNode(_ name: String, path: String, needsMember purpose: String) {
        guard let knownNodes, NameSyntax.isValid(name) else { return }
        guard let node = knownNodes.first(where: { $0.name == name }) else {
            let names = knownNodes.filter { $0.role != .witness }.map(\.name).sorted()
            self.reading.problem(
                at: path, "there is no node `\(name)`",
                Suggestion.remedy(for: name, among: names, otherwise: "let it join first"))
            return
        }
        if node.role == .witness {
            self.reading.problem(
                at: path, "`\(name)` is a witness and cannot \(purpose)", "name a member, or let `\(name)` join as one")
        }
    }

    private mutating func checkVolume(_ volume: VolumePolicy) {
        let path = "volumes.\(volume.name)"
        for replica in volume.replicas {
            self.checkNode(replica.node, path: "\(path).replicas.\(replica.node)", needsMember: "hold a copy")
        }
        if volume.replicas.count == 1 {
            self.reading.problem(
                at: "\(path).replicas", "the volume has a single copy, which no failure of its node survives",
                "add a replica on another node", severity: .warning)
        }
    }

    private mutating func checkGroup(_ group: GroupPolicy) {
        let path = "groups.\(group.name)"
        for node in group.nodes {
            self.checkNode(node, path: "\(path).nodes[\(node)]", needsMember: "run a group")
        }
        if group.nodes.count == 1 {
            self.reading.problem(
                at: "\(path).nodes", "the group has a single node and can never move", "add another node",
                severity: .warning)
        }
        var promoted: Set<VolumeName> = []
        let offered = Set(group.resources.compactMap(\.kind.openedVolume))
        for resource in group.resources {
            guard let volume = resource.kind.volume else { continue }
            let place = "\(path).resources[\(resource.name)].volume"
            guard let definition = self.policy.volumes.first(where: { $0.name == volume }) else {
                self.reading.problem(
                    at: place, "there is no volume `\(volume)`",
                    Suggestion.remedy(
                        for: volume.rawValue, among: self.policy.volumes.map(\.name.rawValue),
                        otherwise: "describe it under `volumes`"))
                promoted.insert(volume)
                continue
            }
            if resource.kind.openedVolume != nil {
                self.checkPromotion(of: definition, by: group, at: place, again: !promoted.insert(volume).inserted)
            } else if !promoted.contains(volume) {
                let comesLater = offered.contains(volume)
                self.reading.problem(
                    at: place,
                    comesLater
                        ? "the volume resource of `\(volume)` comes after it"
                        : "no volume resource of this group offers `\(volume)`",
                    comesLater
                        ? "move the volume resource before it; resources start in the order written"
                        : "put `{ name: \(volume)-volume, agent: volume, volume: \(volume) }` before it")
            }
        }
    }

    private mutating func checkPromotion(
        of volume: VolumePolicy, by group: GroupPolicy, at place: String, again: Bool
    ) {
        if again {
            self.reading.problem(
                at: place, "an earlier resource of this group already offers `\(volume.name)`", "keep one of them")
        }
        let holders = volume.replicas.map(\.node)
        guard !holders.isEmpty else { return }
        for node in group.nodes where !holders.contains(node) {
            self.reading.problem(
                at: "groups.\(group.name).nodes[\(node)]", "`\(node)` holds no replica of the volume `\(volume.name)`",
                "add it under volumes.\(volume.name).replicas, or take `\(node)` out of the list")
        }
    }

    /// Two servers cannot listen on one address, and two copies in one file destroy each other.
    private mutating func checkReplicaClashes() {
        var addresses: [String: String] = [:]
        var backings: [String: String] = [:]
        for volume in self.policy.volumes {
            for replica in volume.replicas {
                let path = "volumes.\(volume.name).replicas.\(replica.node)"
                if !replica.address.isEmpty {
                    if let other = addresses[replica.address] {
                        self.reading.problem(
                            at: "\(path).address", "`\(replica.address)` is already the address of \(other)",
                            "give each replica its own port")
                    } else {
                        addresses[replica.address] = path
                    }
                }
                guard !replica.backing.isEmpty else { continue }
                let backing = "\(replica.node):\(Self.normalized(replica.backing))"
                if let other = backings[backing] {
                    self.reading.problem(
                        at: "\(path).backing", "`\(replica.backing)` on `\(replica.node)` already backs \(other)",
                        "give each volume its own file or device")
                } else {
                    backings[backing] = path
                }
            }
        }
    }

    private mutating func checkSharedVolumes() {
        var users: [VolumeName: GroupName] = [:]
        for group in self.policy.groups {
            for resource in group.resources {
                guard let volume = resource.kind.openedVolume else { continue }
                if let other = users[volume], other != group.name {
                    self.reading.problem(
                        at: "groups.\(group.name).resources[\(resource.name)].volume",
                        "the volume `\(volume)` already belongs to the group `\(other)`",
                        "use it in one group, or put both services into one group")
                } else {
                    users[volume] = group.name
                }
            }
        }
    }

    /// The same mount point or service address twice would clash as soon as both groups run on one node.
    private mutating func checkSharedPlaces() {
        var mounts: [String: String] = [:]
        var addresses: [[UInt8]: String] = [:]
        for group in self.policy.groups {
            for resource in group.resources {
                let path = "groups.\(group.name).resources[\(resource.name)]"
                if case .filesystem = resource.kind, let mount = resource.parameter("mount") {
                    if let other = mounts[Self.normalized(mount)] {
                        self.reading.problem(
                            at: "\(path).mount", "`\(mount)` is already the mount point of \(other)",
                            "mount each filesystem at its own place")
                    } else {
                        mounts[Self.normalized(mount)] = path
                    }
                }
                if resource.kind == .address, let text = resource.parameter("address"),
                    let address = Quantities.network(text)?.address
                {
                    if let other = addresses[address] {
                        self.reading.problem(
                            at: "\(path).address", "`\(text)` is already the address of \(other)",
                            "give each resource its own address")
                    } else {
                        addresses[address] = path
                    }
                }
            }
        }
    }

    /// A path without doubled or trailing slashes and without `.`.
    private static func normalized(_ path: String) -> String {
        "/" + path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }
}
