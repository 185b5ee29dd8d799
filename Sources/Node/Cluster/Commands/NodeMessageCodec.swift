import Basis
import Raft
import Resources

extension Envelope {
    /// The bytes of a frame, in a version that its receiver reads.
    public func encoded(in version: UInt32) -> [UInt8] {
        var writer = ByteWriter(reserving: 128)
        self.encodeContent(into: &writer, in: version)
        if self.isRelayed { writer.data(self.seal) }
        return writer.bytes
    }

    /// What a sender signs: all but the signature.
    public var content: [UInt8] {
        var writer = ByteWriter(reserving: 128)
        self.encodeContent(into: &writer, in: Format.envelope.oldest)
        return writer.bytes
    }

    private func encodeContent(into writer: inout ByteWriter, in version: UInt32) {
        writer.node(self.from, version: version)
        writer.node(self.to)
        // A cluster that never lost its majority says nothing of it.
        let isFirst = self.generation == .first
        writer.uint8((self.isRelayed ? 1 : 0) | (isFirst ? 0 : 2))
        if !isFirst { writer.generation(self.generation) }
        self.mark.encode(into: &writer)
        self.word.encode(into: &writer)
        self.message.encode(into: &writer, in: version)
    }

    /// Reads what `encoded` wrote.
    public init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        let version: UInt32
        (self.from, version) = try reader.versionedNode(.envelope)
        self.to = try reader.node()
        let flags = try reader.uint8()
        guard flags < 4 else { throw .invalid(field: "envelope flags", offset: reader.offset) }
        self.isRelayed = flags & 1 != 0
        // Its signature covers what the oldest version has, and no more.
        guard !self.isRelayed || version == Format.envelope.oldest else {
            throw .invalid(field: "version of a relayed message", offset: reader.offset)
        }
        self.generation = flags & 2 != 0 ? try reader.generation() : .first
        self.mark = try StartMark.decode(from: &reader)
        self.word = try HearingWord.decode(from: &reader)
        self.message = try NodeMessage.decode(from: &reader, in: version)
        if self.isRelayed { self.seal = try reader.data() }
        try reader.finish()
    }
}

extension NodeMessage {
    fileprivate func encode(into writer: inout ByteWriter, in version: UInt32) {
        switch self {
        case .ping(let hears, let reaches):
            writer.uint8(1)
            writer.list(hears) { $0.node($1) }
            writer.list(reaches) { $0.node($1) }
        case .raft(let message):
            writer.uint8(2)
            message.encode(into: &writer)
        case .renewal(let renewal):
            writer.uint8(3)
            renewal.encode(into: &writer)
        case .renewed(let renewal, let words):
            writer.uint8(4)
            renewal.encode(into: &writer)
            writer.list(words) { $1.encode(into: &$0) }
        case .notRenewed(let renewal, let reason, let words):
            writer.uint8(13)
            renewal.encode(into: &writer)
            writer.uint8(reason.rawValue)
            writer.list(words) { $1.encode(into: &$0) }
        case .voterReport(let report):
            writer.uint8(5)
            writer.list(report.lines) { $1.encode(into: &$0) }
        case .forward(let command):
            writer.uint8(6)
            writer.data(command.encoded)
        case .readRequest(let id):
            writer.uint8(7)
            writer.uint64(id)
        case .readAnswer(let id, let index):
            writer.uint8(8)
            writer.uint64(id)
            writer.uint64(index.rawValue)
        case .transferRequest(let to):
            writer.uint8(9)
            writer.optional(to) { $0.node($1) }
        case .summary(let summary):
            writer.uint8(10)
            summary.encode(into: &writer, in: version)
        case .askStandings: writer.uint8(14)
        case .standings(let standings):
            writer.uint8(15)
            writer.list(standings) { writer, standing in standing.encode(into: &writer, in: version) }
        case .challenge(let noted, let nonce):
            writer.uint8(20)
            writer.node(noted.node)
            noted.mark.encode(into: &writer)
            writer.uint64(noted.admittedAt.rawValue)
            writer.uint64(nonce)
        case .echo(let nonce, let remembers, let admittedAt):
            writer.uint8(21)
            writer.uint64(nonce)
            writer.bool(remembers)
            writer.optional(admittedAt) { $0.uint64($1.rawValue) }
        case .inspect(let id, let questions):
            writer.uint8(11)
            writer.uint64(id)
            writer.list(questions) { $1.encode(into: &$0) }
        case .inspected(let id, let answers):
            writer.uint8(12)
            writer.uint64(id)
            writer.list(answers) { $1.encode(into: &$0) }
        case .recovery(let message):
            writer.uint8(30)
            message.encode(into: &writer)
        }
    }

    fileprivate static func decode(
        from reader: inout ByteReader, in version: UInt32
    ) throws(CodecError) -> NodeMessage {
        switch try reader.uint8() {
        case 1:
            return .ping(
                hears: try reader.list { (reader) throws(CodecError) in try reader.node() },
                reaches: try reader.list { (reader) throws(CodecError) in try reader.node() })
        case 2: return .raft(try Message.decode(from: &reader))
        case 3: return .renewal(try Renewal.decode(from: &reader))
        case 4:
            return .renewed(
                try Renewal.decode(from: &reader),
                words: try reader.list { (reader) throws(CodecError) in try ElapsedWord.decode(from: &reader) })
        case 13:
            let renewal = try Renewal.decode(from: &reader)
            guard let reason = RenewalRefusal(rawValue: try reader.uint8()) else {
                throw .invalid(field: "refusal", offset: reader.offset)
            }
            return .notRenewed(
                renewal, reason,
                words: try reader.list { (reader) throws(CodecError) in try ElapsedWord.decode(from: &reader) })
        case 5:
            return .voterReport(
                VoterReport(
                    lines: try reader.list { (reader) throws(CodecError) in try VoterReport.Line.decode(from: &reader) }
                ))
        case 6: return .forward(try LogCommand(decoding: try reader.data()))
        case 7: return .readRequest(id: try reader.uint64())
        case 8: return .readAnswer(id: try reader.uint64(), index: LogIndex(try reader.uint64()))
        case 9:
            return .transferRequest(to: try reader.optional { (reader) throws(CodecError) in try reader.node() })
        case 10: return .summary(try NodeSummary.decode(from: &reader, in: version))
        case 14 where version > 1: return .askStandings
        case 15 where version > 1:
            return .standings(
                try reader.list { (reader) throws(CodecError) in
                    Standing(
                        node: try reader.node(), age: try reader.span(),
                        summary: try NodeSummary.decode(from: &reader, in: version))
                })
        case 20:
            return .challenge(
                NotedMark(
                    node: try reader.node(), mark: try StartMark.decode(from: &reader),
                    admittedAt: LogIndex(try reader.uint64())), nonce: try reader.uint64())
        case 21:
            return .echo(
                nonce: try reader.uint64(), remembers: try reader.bool(),
                admittedAt: try reader.optional { (reader) throws(CodecError) in LogIndex(try reader.uint64()) })
        case 11:
            return .inspect(
                id: try reader.uint64(),
                try reader.list { (reader) throws(CodecError) in try InspectionQuestion.decode(from: &reader) })
        case 12:
            return .inspected(
                id: try reader.uint64(),
                try reader.list { (reader) throws(CodecError) in try InspectionAnswer.decode(from: &reader) })
        case 30: return .recovery(try RecoveryMessage.decode(from: &reader))
        default: throw .invalid(field: "message type", offset: reader.offset)
        }
    }
}

extension VoterReport.Line {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.node(self.node)
        writer.uint64(self.incarnation.rawValue)
        writer.span(self.silence)
        writer.optional(self.suspectedAt) { writer, mark in
            writer.uint64(mark.term.rawValue)
            writer.uint64(mark.index.rawValue)
        }
        writer.span(self.answerAge)
        writer.span(self.answerDuration)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        Self(
            node: try reader.node(), incarnation: Incarnation(try reader.uint64()), silence: try reader.span(),
            suspectedAt: try reader.optional { (reader) throws(CodecError) in
                LogMark(term: Term(try reader.uint64()), index: LogIndex(try reader.uint64()))
            },
            answerAge: try reader.span(), answerDuration: try reader.span())
    }
}

extension NodeSummary {
    fileprivate func encode(into writer: inout ByteWriter, in version: UInt32) {
        writer.span(self.leaseRemaining)
        writer.uint64(self.appliedIndex.rawValue)
        writer.bool(self.isGuarded)
        writer.uint64(self.wallMilliseconds)
        writer.list(self.groups) { writer, group in
            writer.string(group.name.rawValue)
            writer.epoch(group.epoch)
            group.phase.encode(into: &writer)
            writer.list(group.resources) { writer, resource in
                writer.string(resource.name.rawValue)
                resource.state.encode(into: &writer)
                writer.string(resource.reason)
                writer.span(resource.checkedAge)
            }
        }
        writer.list(self.volumes) { writer, volume in
            writer.string(volume.name.rawValue)
            volume.role.encode(into: &writer)
            writer.epoch(volume.epoch)
            writer.uint64(volume.dirtyBytes)
            writer.uint64(volume.writtenBytes)
            writer.uint64(volume.sentBytes)
            writer.uint64(volume.sentCompressedBytes)
            writer.string(volume.problem)
            writer.list(volume.peers) { writer, peer in
                writer.node(peer.node)
                writer.bool(peer.isConnected)
                writer.uint64(peer.resyncRemainingBytes)
                writer.uint64(peer.resyncTotalBytes)
            }
        }
        writer.list(self.remains) { writer, left in
            writer.string(left.group.rawValue)
            left.remains.encode(into: &writer)
        }
        writer.span(self.guardKillsFor)
        // Version 1 does not say what a node runs.
        guard version > 1 else { return }
        writer.optional(self.programs) { $1.encode(into: &$0) }
        writer.string(self.bootID)
    }

    fileprivate static func decode(
        from reader: inout ByteReader, in version: UInt32
    ) throws(CodecError) -> NodeSummary {
        var summary = NodeSummary(
            leaseRemaining: try reader.span(), appliedIndex: LogIndex(try reader.uint64()),
            isGuarded: try reader.bool(), wallMilliseconds: try reader.uint64(),
            groups: try reader.list { (reader) throws(CodecError) in
                Group(
                    name: try reader.group(), epoch: try reader.epoch(), phase: try Told.decode(from: &reader),
                    resources: try reader.list { (reader) throws(CodecError) in
                        Resource(
                            name: ResourceName(try reader.string()), state: try Told.decode(from: &reader),
                            reason: ForeignText.line(try reader.string(), limit: 600), checkedAge: try reader.span())
                    })
            },
            volumes: try reader.list { (reader) throws(CodecError) in
                Volume(
                    name: VolumeName(try reader.string()), role: try Told.decode(from: &reader),
                    epoch: try reader.epoch(),
                    dirtyBytes: try reader.uint64(), writtenBytes: try reader.uint64(),
                    sentBytes: try reader.uint64(), sentCompressedBytes: try reader.uint64(),
                    problem: try reader.string(),
                    peers: try reader.list { (reader) throws(CodecError) in
                        Peer(
                            node: try reader.node(), isConnected: try reader.bool(),
                            resyncRemainingBytes: try reader.uint64(), resyncTotalBytes: try reader.uint64())
                    })
            },
            remains: try reader.list { (reader) throws(CodecError) in
                Remains(group: try reader.group(), remains: try GroupRemains.decode(from: &reader))
            }, guardKillsFor: try reader.span())
        if version > 1 {
            summary.programs = try reader.optional { (reader) throws(CodecError) in
                try NodePrograms.decode(from: &reader)
            }
            summary.bootID = ForeignText.line(try reader.string(), limit: 64)
        }
        return summary
    }
}

extension Standing {
    fileprivate func encode(into writer: inout ByteWriter, in version: UInt32) {
        writer.node(self.node)
        writer.span(self.age)
        self.summary.encode(into: &writer, in: version)
    }
}
