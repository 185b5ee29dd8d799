import Basis
import Raft
import Resources

extension ClusterState {
    /// The bytes of a snapshot.
    public var encoded: [UInt8] {
        // What may be very much, so that it is not moved while it grows.
        var writer = ByteWriter(reserving: (1 << 16) + self.attributes.bytes + 64 * self.attributes.records.count)
        // In the version that builds read which can do no more than the level. (Rule U1)
        let version = min(self.level.rawValue + 1, Format.clusterState.version)
        writer.uint16(UInt16(version))
        writer.uint64(self.clusterID)
        writer.string(self.clusterName)
        writer.uint32(self.generation)
        self.policy.encode(into: &writer)
        writer.string(self.policyText)
        writer.uint64(self.policyIndex.rawValue)
        writer.list(self.nodes) { $1.encode(into: &$0, version: version) }
        writer.uint32(self.nodesEver)
        writer.list(self.groups) { $1.encode(into: &$0) }
        writer.list(self.volumes) { $1.encode(into: &$0) }
        writer.list(self.holdings) { $1.encode(into: &$0) }
        writer.list(self.events) { $1.encode(into: &$0) }
        writer.uint64(self.clusterMilliseconds)
        writer.uint64(self.wallMilliseconds)
        self.requests.encode(into: &writer)
        writer.uint64(self.appliedIndex.rawValue)
        self.attributes.encode(into: &writer)
        writer.list(self.recoveries) { $1.encode(into: &$0) }
        if version > 2 { writer.uint32(self.level.rawValue) }
        if version > 3 {
            self.authorities.encode(into: &writer)
            writer.list(self.policy.leaderSites) { $0.string($1) }
        }
        return writer.bytes
    }

    /// Reads what `encoded` wrote.
    public init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        let version = UInt32(try reader.uint16())
        try Format.clusterState.check(version)
        self.init()
        self.clusterID = try reader.uint64()
        self.clusterName = try reader.string()
        self.generation = try reader.uint32()
        self.policy = try ClusterPolicy.decode(from: &reader)
        self.policyText = try reader.string()
        self.policyIndex = LogIndex(try reader.uint64())
        self.nodes = try reader.list { (reader) throws(CodecError) in
            try NodeRecord.decode(from: &reader, version: version)
        }
        self.nodesEver = try reader.uint32()
        guard self.nodes.allSatisfy({ $0.id.rawValue <= self.nodesEver }), self.nodesEver < .max else {
            throw .invalid(field: "number of node ids", offset: reader.offset)
        }
        self.groups = try reader.list { (reader) throws(CodecError) in try GroupRecord.decode(from: &reader) }
        self.volumes = try reader.list { (reader) throws(CodecError) in
            try VolumeRecord.decode(from: &reader, version: version)
        }
        self.holdings = try reader.list { (reader) throws(CodecError) in try Holding.decode(from: &reader) }
        let events = try reader.list { [self] (reader) throws(CodecError) in
            // Version 1 has sentences alone.
            version > 1
                ? try ClusterEvent.decode(from: &reader) : try ClusterEvent.decodeFirst(from: &reader, among: self)
        }
        self.events = events[...]
        self.clusterMilliseconds = try reader.uint64()
        self.wallMilliseconds = try reader.uint64()
        self.requests = try AppliedRequests.decode(from: &reader)
        self.appliedIndex = LogIndex(try reader.uint64())
        // Version 1 has none.
        if version > 1 {
            self.attributes = try Attributes.decode(from: &reader)
            self.recoveries = try reader.list { (reader) throws(CodecError) in try RecoveryPlan.decode(from: &reader) }
        }
        if version > 2 { self.level = FeatureLevel(try reader.uint32()) }
        if version > 3 {
            self.authorities = try Authorities.decode(from: &reader)
            self.policy.leaderSites = try reader.list { (reader) throws(CodecError) in try reader.string() }
        }
        try reader.finish()
    }
}

extension ClusterState.NodeRecord {
    fileprivate func encode(into writer: inout ByteWriter, version: UInt32) {
        writer.node(self.id)
        self.about.encode(into: &writer)
        switch self.standing {
        case .never: writer.uint8(0)
        case .trusted: writer.uint8(1)
        case .suspected(let at):
            writer.uint8(2)
            writer.uint64(at.rawValue)
        case .lost: writer.uint8(3)
        }
        writer.uint64(self.suspicionTerm.rawValue)
        writer.uint64(self.incarnation.rawValue)
        writer.string(self.bootID)
        self.mark.encode(into: &writer)
        writer.uint64(self.directoryAdmittedAt.rawValue)
        writer.span(self.longestLease)
        writer.span(self.longestGrace)
        writer.bool(self.isDrained)
        writer.bool(self.isDeparting)
        writer.uint64(self.since)
        writer.bool(self.isRetiring)
        writer.optional(self.formerAddress) { $0.string($1) }
        writer.list(self.labels) { writer, label in
            writer.string(label.name)
            writer.string(label.value)
        }
        writer.bool(self.isLeftBehind)
        // Below the third level no node has said anything of its certificate, and nobody expects a pause.
        if version > 3 {
            writer.optional(self.certificate) { $1.encode(into: &$0) }
            writer.uint64(self.pauseExpectedUntil)
            self.twins.encode(into: &writer)
        }
    }

    fileprivate static func decode(from reader: inout ByteReader, version: UInt32) throws(CodecError) -> Self {
        let id = try reader.node()
        let about = try JoiningNode.decode(from: &reader)
        let standing: ClusterState.Standing
        switch try reader.uint8() {
        case 0: standing = .never
        case 1: standing = .trusted
        case 2: standing = .suspected(at: LogIndex(try reader.uint64()))
        case 3: standing = .lost
        default: throw .invalid(field: "standing", offset: reader.offset)
        }
        var record = Self(
            id: id, about: about, standing: standing, suspicionTerm: Term(try reader.uint64()),
            incarnation: Incarnation(try reader.uint64()),
            bootID: try reader.string(), mark: try StartMark.decode(from: &reader),
            directoryAdmittedAt: LogIndex(try reader.uint64()), longestLease: try reader.span(),
            longestGrace: try reader.span(), isDrained: try reader.bool(), isDeparting: try reader.bool(),
            since: try reader.uint64())
        // Version 1 knows no node that leaves, moves or has labels.
        if version == 1 { return record }
        record.isRetiring = try reader.bool()
        record.formerAddress = try reader.optional { (reader) throws(CodecError) in try reader.string() }
        record.labels = try reader.list { (reader) throws(CodecError) in
            NodeLabel(name: try reader.string(), value: try reader.string())
        }
        record.isLeftBehind = try reader.bool()
        if version > 3 {
            record.certificate = try reader.optional { (reader) throws(CodecError) in
                try CertificateRecord.decode(from: &reader)
            }
            record.pauseExpectedUntil = try reader.uint64()
            record.twins = try Twins.decode(from: &reader)
        }
        return record
    }
}

extension ClusterState.GroupRecord {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.string(self.name.rawValue)
        writer.bool(self.isWanted)
        writer.optional(self.assignment) { writer, assignment in
            writer.node(assignment.node)
            writer.uint64(assignment.incarnation.rawValue)
            writer.bool(assignment.isStarted)
            writer.optional(assignment.releasing) { $0.string($1) }
        }
        writer.epoch(self.epoch)
        writer.optional(self.lastOwner) { $0.node($1) }
        writer.bool(self.wasCleanlyStopped)
        writer.uint64(self.searchedSince.rawValue)
        writer.list(self.absentOn) { $0.node($1) }
        writer.list(self.findings) { $1.encode(into: &$0) }
        writer.list(self.awaited) { $1.encode(into: &$0) }
        writer.uint64(self.wishedAt.rawValue)
        writer.list(self.bans) { writer, ban in
            writer.node(ban.node)
            ban.failure.encode(into: &writer)
            writer.uint64(ban.since)
        }
        writer.optional(self.parked) { $0.string($1) }
        writer.optional(self.target) { $0.node($1) }
        writer.list(self.moves) { $0.uint64($1) }
        writer.list(self.remains) { writer, left in
            writer.node(left.node)
            left.remains.encode(into: &writer)
            writer.uint64(left.since)
            writer.uint64(left.heardAt)
        }
        writer.uint64(self.since)
        writer.optional(self.removedPolicy) { $1.encode(into: &$0) }
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        var record = Self(name: try reader.group())
        record.isWanted = try reader.bool()
        record.assignment = try reader.optional { (reader) throws(CodecError) in
            Assignment(
                node: try reader.node(), incarnation: Incarnation(try reader.uint64()),
                isStarted: try reader.bool(),
                releasing: try reader.optional { (reader) throws(CodecError) in try reader.string() })
        }
        record.epoch = try reader.epoch()
        record.lastOwner = try reader.optional { (reader) throws(CodecError) in try reader.node() }
        record.wasCleanlyStopped = try reader.bool()
        record.searchedSince = LogIndex(try reader.uint64())
        record.absentOn = try reader.list { (reader) throws(CodecError) in try reader.node() }
        record.findings = try reader.list { (reader) throws(CodecError) in
            try ClusterState.Finding.decode(from: &reader)
        }
        record.awaited = try reader.list { (reader) throws(CodecError) in try Claim.decode(from: &reader) }
        record.wishedAt = LogIndex(try reader.uint64())
        record.bans = try reader.list { (reader) throws(CodecError) in
            Ban(
                node: try reader.node(), failure: try GroupFailure.decode(from: &reader), since: try reader.uint64())
        }
        record.parked = try reader.optional { (reader) throws(CodecError) in try reader.string() }
        record.target = try reader.optional { (reader) throws(CodecError) in try reader.node() }
        record.moves = try reader.list { (reader) throws(CodecError) in try reader.uint64() }
        record.remains = try reader.list { (reader) throws(CodecError) in
            ClusterState.RemainsRecord(
                node: try reader.node(), remains: try GroupRemains.decode(from: &reader), since: try reader.uint64(),
                heardAt: try reader.uint64())
        }
        record.since = try reader.uint64()
        record.removedPolicy = try reader.optional { (reader) throws(CodecError) in
            try GroupPolicy.decode(from: &reader)
        }
        return record
    }
}

extension ClusterState.VolumeRecord {
    fileprivate func encode(into writer: inout ByteWriter) {
        self.definition.encode(into: &writer)
        writer.uint64(self.identity)
        writer.list(self.copies) { writer, copy in
            writer.node(copy.node)
            writer.uint64(copy.identity)
            writer.uint64(copy.mark)
            writer.epoch(copy.epoch)
            writer.uint64(copy.capacityBytes)
            writer.string(copy.bootID)
        }
        writer.bool(self.isWritten)
        writer.bool(self.mayRepair)
        writer.uint64(self.comparisons)
        writer.epoch(self.epoch)
        writer.optional(self.owner) { $0.node($1) }
        writer.list(self.inSync) { $0.node($1) }
        writer.list(self.former) { $0.node($1) }
        writer.uint64(self.version)
        writer.bool(self.isUnproven)
    }

    fileprivate static func decode(from reader: inout ByteReader, version: UInt32) throws(CodecError) -> Self {
        let definition = try VolumePolicy.decode(from: &reader)
        var record = Self(definition, identity: try reader.uint64())
        record.copies = try reader.list { (reader) throws(CodecError) in
            Copy(
                node: try reader.node(), identity: try reader.uint64(), mark: try reader.uint64(),
                epoch: try reader.epoch(), capacityBytes: try reader.uint64(),
                bootID: try reader.string())
        }
        record.isWritten = try reader.bool()
        record.mayRepair = try reader.bool()
        record.comparisons = try reader.uint64()
        record.epoch = try reader.epoch()
        record.owner = try reader.optional { (reader) throws(CodecError) in try reader.node() }
        record.inSync = try reader.list { (reader) throws(CodecError) in try reader.node() }
        record.former = try reader.list { (reader) throws(CodecError) in try reader.node() }
        record.version = try reader.uint64()
        // Version 1 knows no recovery.
        if version > 1 { record.isUnproven = try reader.bool() }
        return record
    }
}

extension ClusterState.Holding {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.string(self.group.rawValue)
        writer.epoch(self.epoch)
        writer.node(self.node)
        writer.uint64(self.incarnation.rawValue)
        writer.list(self.claims) { $1.encode(into: &$0) }
        writer.list(self.surplus) { $1.encode(into: &$0) }
        writer.uint64(self.version)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        Self(
            group: try reader.group(), epoch: try reader.epoch(), node: try reader.node(),
            incarnation: Incarnation(try reader.uint64()),
            claims: try reader.list { (reader) throws(CodecError) in try Claim.decode(from: &reader) },
            surplus: try reader.list { (reader) throws(CodecError) in try Claim.decode(from: &reader) },
            version: try reader.uint64())
    }
}

extension Claim {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.uint8(self.kind.rawValue)
        writer.string(self.text)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Claim {
        guard let kind = Kind(rawValue: try reader.uint8()) else {
            throw .invalid(field: "kind of a claim", offset: reader.offset)
        }
        return Claim(kind, try reader.string())
    }
}
