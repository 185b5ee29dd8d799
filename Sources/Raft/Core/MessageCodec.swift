import Basis

extension Message {
    /// Appends the term, a kind byte and the kind's fields.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.term.rawValue)
        switch self.body {
        case .preVoteRequest(let requested, let last):
            writer.uint8(1)
            writer.uint64(requested.rawValue)
            last.encode(into: &writer)
        case .preVoteResponse(let requested, let granted):
            writer.uint8(2)
            writer.uint64(requested.rawValue)
            writer.bool(granted)
        case .voteRequest(let last, let transfer):
            writer.uint8(3)
            last.encode(into: &writer)
            writer.bool(transfer)
        case .voteResponse(let granted):
            writer.uint8(4)
            writer.bool(granted)
        case .append(let previous, let entries, let commit):
            writer.uint8(5)
            previous.encode(into: &writer)
            writer.list(entries) { $1.encode(into: &$0) }
            writer.uint64(commit.rawValue)
        case .appendAccepted(let match):
            writer.uint8(6)
            writer.uint64(match.rawValue)
        case .appendRejected(let previous, let hint):
            writer.uint8(7)
            writer.uint64(previous.rawValue)
            hint.encode(into: &writer)
        case .heartbeat(let commit, let round):
            writer.uint8(8)
            writer.uint64(commit.rawValue)
            writer.uint64(round)
        case .heartbeatResponse(let round):
            writer.uint8(9)
            writer.uint64(round)
        case .snapshotChunk(let chunk):
            writer.uint8(10)
            chunk.encode(into: &writer)
        case .snapshotProgress(let mark, let received):
            writer.uint8(11)
            mark.encode(into: &writer)
            writer.uint64(received)
        case .timeoutNow(let last):
            writer.uint8(12)
            last.encode(into: &writer)
        case .readRequest(let id):
            writer.uint8(13)
            writer.uint64(id)
        case .readResponse(let id, let index):
            writer.uint8(14)
            writer.uint64(id)
            writer.optional(index) { $0.uint64($1.rawValue) }
        case .outdated:
            writer.uint8(15)
        }
    }

    /// Takes a message; an unknown kind, or entries that do not follow one another, are refused.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> Message {
        let term = Term(try reader.uint64())
        let kind = try reader.uint8()
        return Message(term: term, body: try Body.decode(kind: kind, from: &reader))
    }
}

extension Message.Body {
    static func decode(kind: UInt8, from reader: inout ByteReader) throws(CodecError) -> Message.Body {
        switch kind {
        case 1:
            let requested = Term(try reader.uint64())
            return .preVoteRequest(requested: requested, last: try LogMark.decode(from: &reader))
        case 2:
            let requested = Term(try reader.uint64())
            return .preVoteResponse(requested: requested, granted: try reader.bool())
        case 3:
            let last = try LogMark.decode(from: &reader)
            return .voteRequest(last: last, transfer: try reader.bool())
        case 4: return .voteResponse(granted: try reader.bool())
        case 5: return try self.decodeAppend(from: &reader)
        case 6: return .appendAccepted(match: LogIndex(try reader.uint64()))
        case 7:
            let previous = LogIndex(try reader.uint64())
            return .appendRejected(previous: previous, hint: try LogMark.decode(from: &reader))
        case 8:
            let commit = LogIndex(try reader.uint64())
            return .heartbeat(commit: commit, round: try reader.uint64())
        case 9: return .heartbeatResponse(round: try reader.uint64())
        case 10: return .snapshotChunk(try Message.SnapshotChunk.decode(from: &reader))
        case 11:
            let mark = try LogMark.decode(from: &reader)
            return .snapshotProgress(mark: mark, received: try reader.uint64())
        case 12: return .timeoutNow(last: try LogMark.decode(from: &reader))
        case 13: return .readRequest(id: try reader.uint64())
        case 14:
            let id = try reader.uint64()
            let index = try reader.optional { (reader) throws(CodecError) in LogIndex(try reader.uint64()) }
            return .readResponse(id: id, index: index)
        case 15: return .outdated
        default: throw .invalid(field: "message kind", offset: reader.offset)
        }
    }

    private static func decodeAppend(from reader: inout ByteReader) throws(CodecError) -> Message.Body {
        let previous = try LogMark.decode(from: &reader)
        let entries = try reader.list { (reader) throws(CodecError) in try Entry.decode(from: &reader) }
        var before = previous
        for entry in entries {
            guard entry.mark.index == before.index.next, entry.mark.term >= before.term else {
                throw .invalid(field: "entries", offset: reader.offset)
            }
            before = entry.mark
        }
        return .append(previous: previous, entries: entries, commit: LogIndex(try reader.uint64()))
    }
}

extension Message.SnapshotChunk {
    func encode(into writer: inout ByteWriter) {
        self.mark.encode(into: &writer)
        self.membership.encode(into: &writer)
        writer.uint64(self.membershipIndex.rawValue)
        writer.uint64(self.offset)
        writer.uint64(self.total)
        writer.data(self.bytes)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Message.SnapshotChunk {
        let mark = try LogMark.decode(from: &reader)
        let membership = try Membership.decode(from: &reader)
        let membershipIndex = LogIndex(try reader.uint64())
        let offset = try reader.uint64()
        let total = try reader.uint64()
        let bytes = try reader.data()
        guard offset <= total, UInt64(bytes.count) <= total - offset else {
            throw .invalid(field: "snapshot chunk", offset: reader.offset)
        }
        return Message.SnapshotChunk(
            mark: mark, membership: membership, membershipIndex: membershipIndex, offset: offset, total: total,
            bytes: bytes)
    }
}
