import Basis
import Resources

extension ClusterPolicy {
    func encode(into writer: inout ByteWriter) {
        writer.string(self.name)
        self.timing.encode(into: &writer)
        writer.list(self.volumes) { $1.encode(into: &$0) }
        writer.list(self.groups) { $1.encode(into: &$0) }
    }

    /// Reads the beginning of what `encode` wrote.
    static func decodeTiming(from reader: inout ByteReader) throws(CodecError) -> Timing {
        _ = try reader.string()
        return try Timing.decode(from: &reader)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> ClusterPolicy {
        let name = try reader.string()
        let timing = try Timing.decode(from: &reader)
        let volumes = try reader.list { (reader) throws(CodecError) in try VolumePolicy.decode(from: &reader) }
        let groups = try reader.list { (reader) throws(CodecError) in try GroupPolicy.decode(from: &reader) }
        return ClusterPolicy(name: name, timing: timing, volumes: volumes, groups: groups)
    }
}

extension VolumePolicy {
    func encode(into writer: inout ByteWriter) {
        writer.string(self.name.rawValue)
        writer.uint64(self.sizeBytes)
        writer.list(self.replicas) { writer, replica in
            writer.string(replica.node)
            writer.string(replica.backing)
            writer.string(replica.address)
        }
        writer.optional(self.resyncBytesPerSecond) { $0.uint64($1) }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> VolumePolicy {
        VolumePolicy(
            name: VolumeName(try reader.string()), sizeBytes: try reader.uint64(),
            replicas: try reader.list { (reader) throws(CodecError) in
                VolumePolicy.Replica(
                    node: try reader.string(), backing: try reader.string(), address: try reader.string())
            },
            resyncBytesPerSecond: try reader.optional { (reader) throws(CodecError) in try reader.uint64() })
    }
}

extension Timing {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.span(self.leaseDuration)
        writer.span(self.leaseGrace)
        writer.span(self.renewalInterval)
        writer.span(self.detection)
        writer.uint64(self.clockRateErrorPartsPerMillion)
        writer.span(self.guardKill)
        writer.span(self.daemonRestart)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Timing {
        Timing(
            leaseDuration: try reader.span(), leaseGrace: try reader.span(), renewalInterval: try reader.span(),
            detection: try reader.span(), clockRateErrorPartsPerMillion: try reader.uint64(),
            guardKill: try reader.span(), daemonRestart: try reader.span())
    }
}

extension GroupPolicy {
    func encode(into writer: inout ByteWriter) {
        writer.string(self.name.rawValue)
        writer.list(self.nodes) { $0.string($1) }
        writer.bool(self.takeover == .immediate)
        writer.bool(self.failback)
        writer.uint32(UInt32(clamping: self.restartAttempts))
        writer.span(self.restartWindow)
        writer.uint32(UInt32(clamping: self.maximumMoves))
        writer.span(self.moveWindow)
        writer.span(self.undeadWait)
        writer.list(self.resources) { writer, resource in
            writer.string(resource.name.rawValue)
            writer.string(resource.agent)
            writer.list(resource.parameters) { writer, parameter in
                writer.string(parameter.key)
                writer.string(parameter.value)
                writer.bool(parameter.isFile)
            }
            writer.span(resource.startTimeout)
            writer.span(resource.stopTimeout)
            writer.span(resource.monitorInterval)
            writer.span(resource.monitorTimeout)
            writer.bool(resource.isDeclaredKillable)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> GroupPolicy {
        var policy = GroupPolicy(
            name: try reader.group(), nodes: try reader.list { (reader) throws(CodecError) in try reader.string() },
            takeover: try reader.bool() ? .immediate : .afterLease, failback: try reader.bool(),
            restartAttempts: Int(try reader.uint32()), restartWindow: try reader.span(),
            maximumMoves: Int(try reader.uint32()), moveWindow: try reader.span(),
            resources: [])
        policy.undeadWait = try reader.span()
        policy.resources = try reader.list { (reader) throws(CodecError) in
            var resource = ResourcePolicy(
                name: ResourceName(try reader.string()), agent: try reader.string(),
                parameters: try reader.list { (reader) throws(CodecError) in
                    ResourcePolicy.Parameter(
                        try reader.string(), try reader.string(), isFile: try reader.bool())
                },
                startTimeout: try reader.span(), stopTimeout: try reader.span(),
                monitorInterval: try reader.span(), monitorTimeout: try reader.span())
            resource.isDeclaredKillable = try reader.bool()
            return resource
        }
        return policy
    }
}
