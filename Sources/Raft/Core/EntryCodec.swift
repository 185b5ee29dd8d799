import Basis

extension LogMark {
    /// Appends term and index, 8 bytes each.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.term.rawValue)
        writer.uint64(self.index.rawValue)
    }

    /// Takes term and index.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> LogMark {
        let term = Term(try reader.uint64())
        return LogMark(term: term, index: LogIndex(try reader.uint64()))
    }
}

extension Entry {
    /// Appends the mark, a kind byte and the payload.
    public func encode(into writer: inout ByteWriter) {
        self.mark.encode(into: &writer)
        switch self.payload {
        case .empty:
            writer.uint8(0)
        case .command(let bytes):
            writer.uint8(1)
            writer.data(bytes)
        case .membership(let membership):
            writer.uint8(2)
            membership.encode(into: &writer)
        }
    }

    /// Takes an entry; an unknown kind is refused.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> Entry {
        let mark = try LogMark.decode(from: &reader)
        let payload: Payload
        switch try reader.uint8() {
        case 0: payload = .empty
        case 1: payload = .command(try reader.data())
        case 2: payload = .membership(try Membership.decode(from: &reader))
        default: throw .invalid(field: "entry kind", offset: reader.offset)
        }
        return Entry(mark: mark, payload: payload)
    }

    /// Bytes of payload, for bounds on batches and windows; a membership counts its nodes.
    public var payloadBytes: Int {
        switch self.payload {
        case .empty: 0
        case .command(let bytes): bytes.count
        case .membership(let membership):
            4
                * (membership.voters.count + membership.outgoing.count + membership.learners.count
                    + membership.witnesses.count)
        }
    }
}

extension Membership {
    /// Appends the four lists.
    public func encode(into writer: inout ByteWriter) {
        for nodes in [self.voters, self.outgoing, self.learners, self.witnesses] {
            writer.list(nodes) { $0.uint32($1.rawValue) }
        }
    }

    /// Takes the four lists; each must be strictly ascending and free of the number zero.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> Membership {
        let voters = try self.nodes(from: &reader, field: "voters")
        let outgoing = try self.nodes(from: &reader, field: "outgoing voters")
        let learners = try self.nodes(from: &reader, field: "learners")
        let witnesses = try self.nodes(from: &reader, field: "witnesses")
        return Membership(voters: voters, outgoing: outgoing, learners: learners, witnesses: witnesses)
    }

    private static func nodes(from reader: inout ByteReader, field: String) throws(CodecError) -> [NodeID] {
        let nodes = try reader.list { (reader) throws(CodecError) in NodeID(try reader.uint32()) }
        var last = NodeID(0)
        for node in nodes {
            guard node > last else { throw .invalid(field: field, offset: reader.offset) }
            last = node
        }
        return nodes
    }
}

extension HardState {
    /// Appends term, vote (zero for none), commit and the marks noted.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.term.rawValue)
        writer.uint32(self.votedFor?.rawValue ?? 0)
        writer.uint64(self.commit.rawValue)
        writer.list(self.noted) { $1.encode(into: &$0) }
    }

    /// Takes what `encode` appended.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> HardState {
        let term = Term(try reader.uint64())
        let vote = try reader.uint32()
        return HardState(
            term: term, votedFor: vote == 0 ? nil : NodeID(vote), commit: LogIndex(try reader.uint64()),
            noted: try reader.list { (reader) throws(CodecError) in try NotedMark.decode(from: &reader) })
    }
}

extension Snapshot {
    /// Appends mark, membership, its index and the data.
    public func encode(into writer: inout ByteWriter) {
        self.encodeHead(into: &writer)
        writer.raw(self.data)
    }

    /// Appends everything before the data: they follow as they are.
    public func encodeHead(into writer: inout ByteWriter) {
        self.mark.encode(into: &writer)
        self.membership.encode(into: &writer)
        writer.uint64(self.membershipIndex.rawValue)
        writer.uint32(UInt32(self.data.count))
    }

    /// Takes a snapshot.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> Snapshot {
        let mark = try LogMark.decode(from: &reader)
        let membership = try Membership.decode(from: &reader)
        let membershipIndex = LogIndex(try reader.uint64())
        return Snapshot(
            mark: mark, membership: membership, membershipIndex: membershipIndex, data: try reader.data())
    }
}
