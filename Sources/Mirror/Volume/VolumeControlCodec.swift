import Basis

/// The bytes on the control socket between the daemon and a volume server: a 32-bit count, then one of these.
extension VolumeCommand {
    /// Appends the command; `decode` is its inverse.
    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .open(let epoch, let incarnation, let inSync, let version, let reconciling, let copy):
            writer.uint8(1)
            writer.epoch(epoch)
            writer.uint64(incarnation.rawValue)
            writer.nodes(inSync)
            writer.uint64(version)
            writer.nodes(reconciling)
            writer.optional(copy) { writer, copy in
                writer.uint64(copy.identity)
                writer.uint64(copy.mark)
                // Last in the message: a server of an earlier build reads no further.
                writer.epoch(copy.epoch)
            }
        case .inSyncChanged(let epoch, let inSync, let version):
            writer.uint8(2)
            writer.epoch(epoch)
            writer.nodes(inSync)
            writer.uint64(version)
        case .close(let epoch):
            writer.uint8(3)
            writer.epoch(epoch)
        case .freeze: writer.uint8(4)
        case .thaw(let incarnation, let epoch):
            writer.uint8(5)
            writer.uint64(incarnation.rawValue)
            writer.epoch(epoch)
        case .detach: writer.uint8(6)
        case .takenBack: writer.uint8(12)
        case .over(let epoch):
            writer.uint8(13)
            writer.epoch(epoch)
        case .resyncAll: writer.uint8(7)
        case .report(let question):
            writer.uint8(8)
            writer.uint64(question)
        case .makeCopy: writer.uint8(9)
        case .noted(let mark):
            writer.uint8(10)
            writer.uint64(mark)
        case .peers(let peers):
            writer.uint8(11)
            writer.list(peers) { writer, peer in
                writer.uint32(peer.node.rawValue)
                writer.string(peer.address)
            }
        }
    }

    /// Takes one command off `reader`; an unknown kind is refused.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> VolumeCommand {
        switch try reader.uint8() {
        case 1:
            return .open(
                epoch: try reader.epoch(), incarnation: Incarnation(try reader.uint64()), inSync: try reader.nodes(),
                version: try reader.uint64(), reconciling: try reader.nodes(),
                copy: try reader.optional { (reader) throws(CodecError) in
                    KnownCopy(
                        identity: try reader.uint64(), mark: try reader.uint64(),
                        epoch: reader.remaining == 0 ? .none : try reader.epoch())
                })
        case 2:
            return .inSyncChanged(
                epoch: try reader.epoch(), inSync: try reader.nodes(), version: try reader.uint64())
        case 3: return .close(epoch: try reader.epoch())
        case 4: return .freeze
        case 5: return .thaw(incarnation: Incarnation(try reader.uint64()), epoch: try reader.epoch())
        case 6: return .detach
        case 12: return .takenBack
        case 13: return .over(below: try reader.epoch())
        case 7: return .resyncAll
        case 8: return .report(question: try reader.uint64())
        case 9: return .makeCopy
        case 10: return .noted(mark: try reader.uint64())
        case 11:
            return .peers(
                try reader.list { (reader) throws(CodecError) in
                    PeerPlace(node: NodeID(try reader.uint32()), address: try reader.string())
                })
        case VolumeControlVersion.kind: throw try VolumeControlVersion.refusal(&reader)
        default: throw .invalid(field: "volume command", offset: reader.offset)
        }
    }
}

/// The kind that a later version of both directions begins a connection with, and nothing but the number behind it. Version 1
/// begins without.
enum VolumeControlVersion {
    static let kind: UInt8 = 255

    static func refusal(_ reader: inout ByteReader) throws(CodecError) -> CodecError {
        .foreignVersion(.volumeControl, found: try reader.uint32())
    }
}

extension VolumeEvent {
    /// Appends the event; `decode` is its inverse.
    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .opened(let epoch):
            writer.uint8(1)
            writer.epoch(epoch)
        case .closed(let epoch):
            writer.uint8(2)
            writer.epoch(epoch)
        case .wantsLeave(let epoch, let version, let replica):
            writer.uint8(3)
            writer.epoch(epoch)
            writer.uint64(version)
            writer.uint32(replica.rawValue)
        case .wantsJoin(let epoch, let version, let replica, let copy):
            writer.uint8(4)
            writer.epoch(epoch)
            writer.uint64(version)
            writer.uint32(replica.rawValue)
            writer.uint64(copy)
        case .failed(let reason):
            writer.uint8(5)
            writer.string(reason)
        case .status(let status):
            writer.uint8(6)
            status.encode(into: &writer)
        case .wantsOpen(let epoch, let version, let inSync):
            writer.uint8(7)
            writer.epoch(epoch)
            writer.uint64(version)
            writer.replicas(inSync)
        case .copy(let report):
            writer.uint8(8)
            report.encode(into: &writer)
        case .note(let text):
            writer.uint8(9)
            writer.string(text)
        case .outdated(let epoch, let version, let reason):
            writer.uint8(10)
            writer.epoch(epoch)
            writer.uint64(version)
            writer.string(reason)
        case .takenBack(let reason):
            writer.uint8(11)
            writer.string(reason)
        }
    }

    /// Takes one event off `reader`; an unknown kind is refused.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> VolumeEvent {
        switch try reader.uint8() {
        case 1: return .opened(epoch: try reader.epoch())
        case 2: return .closed(epoch: try reader.epoch())
        case 3:
            return .wantsLeave(
                epoch: try reader.epoch(), version: try reader.uint64(), replica: NodeID(try reader.uint32()))
        case 4:
            return .wantsJoin(
                epoch: try reader.epoch(), version: try reader.uint64(), replica: NodeID(try reader.uint32()),
                copy: try reader.uint64())
        case 5: return .failed(reason: try reader.string())
        case 6: return .status(try VolumeStatus.decode(from: &reader))
        case 7:
            return .wantsOpen(
                epoch: try reader.epoch(), version: try reader.uint64(), inSync: try reader.replicas())
        case 8: return .copy(try CopyReport.decode(from: &reader))
        case 9: return .note(try reader.string())
        case 11: return .takenBack(reason: try reader.string())
        case 10:
            return .outdated(epoch: try reader.epoch(), version: try reader.uint64(), reason: try reader.string())
        case VolumeControlVersion.kind: throw try VolumeControlVersion.refusal(&reader)
        default: throw .invalid(field: "volume event", offset: reader.offset)
        }
    }
}

extension CopyMark {
    /// Appends all fields.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.identity)
        writer.list(self.starts) { $0.uint64($1) }
        writer.epoch(self.epoch)
        writer.bool(self.isNoted)
    }

    /// Takes all fields.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> CopyMark {
        CopyMark(
            identity: try reader.uint64(),
            starts: try reader.list { (reader) throws(CodecError) in try reader.uint64() },
            epoch: try reader.epoch(), isNoted: try reader.bool())
    }
}

extension CopyReport {
    func encode(into writer: inout ByteWriter) {
        writer.uint64(self.volume)
        writer.string(self.backing)
        writer.uint64(self.capacityBytes)
        writer.uint64(self.answers)
        switch self.finding {
        case .ready(let mark):
            writer.uint8(1)
            mark.encode(into: &writer)
        case .none(let reason, let mayMake):
            writer.uint8(2)
            writer.string(reason)
            writer.bool(mayMake)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> CopyReport {
        let (volume, backing, capacity) = (try reader.uint64(), try reader.string(), try reader.uint64())
        let answers = try reader.uint64()
        let finding: Finding
        switch try reader.uint8() {
        case 1: finding = .ready(try CopyMark.decode(from: &reader))
        case 2: finding = .none(reason: try reader.string(), mayMake: try reader.bool())
        default: throw .invalid(field: "finding", offset: reader.offset)
        }
        return CopyReport(volume: volume, backing: backing, capacityBytes: capacity, finding: finding, answers: answers)
    }
}

extension VolumeStatus {
    /// Appends the status; `decode` is its inverse.
    public func encode(into writer: inout ByteWriter) {
        // The release before knows no copy that lacks writes, and reads no further than the peers.
        writer.string((self.role == .incomplete ? Role.replica : self.role).rawValue)
        writer.epoch(self.epoch)
        for value in [self.dirtyBytes, self.writtenBytes, self.sentBytes, self.sentCompressedBytes] {
            writer.uint64(value)
        }
        writer.list(self.peers) { writer, peer in
            writer.uint32(peer.node.rawValue)
            writer.bool(peer.connected)
            writer.bool(peer.inSync)
            writer.uint64(peer.resyncRemainingBytes)
            writer.uint64(peer.resyncTotalBytes)
        }
        if self.role == .incomplete { writer.bool(true) }
    }

    /// Takes one status off `reader`.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> VolumeStatus {
        let name = try reader.string()
        guard let role = Role(rawValue: name) else {
            throw .invalid(field: "volume role", offset: reader.offset)
        }
        var status = VolumeStatus(
            role: role, epoch: try reader.epoch(), dirtyBytes: try reader.uint64(), writtenBytes: try reader.uint64(),
            sentBytes: try reader.uint64(), sentCompressedBytes: try reader.uint64(),
            peers: try reader.list { reader throws(CodecError) in
                Peer(
                    node: NodeID(try reader.uint32()), connected: try reader.bool(), inSync: try reader.bool(),
                    resyncRemainingBytes: try reader.uint64(), resyncTotalBytes: try reader.uint64())
            })
        if role == .replica, reader.remaining > 0, try reader.bool() { status.role = .incomplete }
        return status
    }
}

extension ByteWriter {
    mutating func epoch(_ value: Epoch) {
        self.uint32(value.generation)
        self.uint64(value.index)
    }
    mutating func nodes(_ values: [NodeID]) { self.list(values) { $0.uint32($1.rawValue) } }
}

extension ByteReader {
    mutating func epoch() throws(CodecError) -> Epoch {
        Epoch(generation: try self.uint32(), index: try self.uint64())
    }
    mutating func nodes() throws(CodecError) -> [NodeID] {
        try self.list { reader throws(CodecError) in NodeID(try reader.uint32()) }
    }
}
