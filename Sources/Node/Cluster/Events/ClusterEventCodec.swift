import Basis
import Resources

// The bytes of events in a snapshot. A number is never given to another case.

extension ClusterEvent {
    func encode(into writer: inout ByteWriter) {
        writer.uint64(self.index.rawValue)
        writer.uint64(self.wallMilliseconds)
        writer.optional(self.asker) { $0.named($1) }
        switch self.happening {
        case .cluster(let happening):
            writer.uint8(0)
            happening.encode(into: &writer)
        case .node(let node, let happening):
            writer.uint8(1)
            writer.named(node)
            happening.encode(into: &writer)
        case .group(let group, let happening):
            writer.uint8(2)
            writer.string(group.rawValue)
            happening.encode(into: &writer)
        case .volume(let volume, let happening):
            writer.uint8(3)
            writer.string(volume.rawValue)
            happening.encode(into: &writer)
        case .told(let earlier):
            writer.uint8(4)
            writer.words(earlier.words)
            writer.string(earlier.rule.rawValue)
            writer.optional(earlier.group) { $0.string($1.rawValue) }
            writer.optional(earlier.node) { $0.named($1) }
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> ClusterEvent {
        let index = LogIndex(try reader.uint64())
        let milliseconds = try reader.uint64()
        let asker = try reader.optional { (reader) throws(CodecError) in try reader.named() }
        let happening: Happening
        switch try reader.uint8() {
        case 0: happening = .cluster(try .decode(from: &reader))
        case 1: happening = .node(try reader.named(), try .decode(from: &reader))
        case 2: happening = .group(try reader.group(), try .decode(from: &reader))
        case 3: happening = .volume(VolumeName(try reader.string()), try .decode(from: &reader))
        case 4:
            happening = .told(
                EarlierWords(
                    words: try reader.words(), rule: EventRule(try reader.string()),
                    group: try reader.optional { (reader) throws(CodecError) in try reader.group() },
                    node: try reader.optional { (reader) throws(CodecError) in try reader.named() }))
        default: throw .invalid(field: "subject of an event", offset: reader.offset)
        }
        return ClusterEvent(index: index, wallMilliseconds: milliseconds, happening: happening, asker: asker)
    }

    /// What version 1 of the replicated state has: a sentence. Its node gets the name that it has in the same snapshot.
    static func decodeFirst(
        from reader: inout ByteReader, among state: ClusterState
    ) throws(CodecError) -> ClusterEvent {
        ClusterEvent(
            index: LogIndex(try reader.uint64()), wallMilliseconds: try reader.uint64(),
            happening: .told(
                EarlierWords(
                    words: try reader.words(), rule: EventRule(try reader.string()),
                    group: try reader.optional { (reader) throws(CodecError) in try reader.group() },
                    node: try reader.optional { (reader) throws(CodecError) in state.named(try reader.node()) })))
    }
}

extension ClusterHappening {
    fileprivate func encode(into writer: inout ByteWriter) {
        switch self {
        case .founded(let name, let node):
            writer.uint8(0)
            writer.string(name)
            writer.named(node)
        case .configured: writer.uint8(1)
        case .noted(let words, let node):
            writer.uint8(2)
            writer.words(words)
            writer.optional(node) { $0.named($1) }
        case .recovered(let generation, let node):
            writer.uint8(3)
            writer.generation(generation)
            writer.named(node)
        case .authorityComes(let words):
            writer.uint8(5)
            writer.words(words)
        case .authorityTrusted(let words):
            writer.uint8(6)
            writer.words(words)
        case .authorityExchanged(let words):
            writer.uint8(7)
            writer.words(words)
        case .authorityStays(let words):
            writer.uint8(8)
            writer.words(words)
        case .raised(let level):
            writer.uint8(4)
            writer.uint32(level.rawValue)
        }
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        switch try reader.uint8() {
        case 5: return .authorityComes(try reader.words())
        case 6: return .authorityTrusted(try reader.words())
        case 7: return .authorityExchanged(try reader.words())
        case 8: return .authorityStays(try reader.words())
        case 4: return .raised(FeatureLevel(try reader.uint32()))
        case 3: return .recovered(try reader.generation(), by: try reader.named())
        case 0: return .founded(try reader.string(), by: try reader.named())
        case 1: return .configured
        case 2:
            return .noted(
                try reader.words(),
                about: try reader.optional { (reader) throws(CodecError) in try reader.named() })
        default: throw .invalid(field: "event of the cluster", offset: reader.offset)
        }
    }
}

extension NodeHappening {
    fileprivate func encode(into writer: inout ByteWriter) {
        switch self {
        case .joined(let site):
            writer.uint8(0)
            writer.string(site)
        case .joinedAgain(let site):
            writer.uint8(1)
            writer.string(site)
        case .up: writer.uint8(2)
        case .upWithNewLog: writer.uint8(3)
        case .silent: writer.uint8(4)
        case .heardAgain: writer.uint8(5)
        case .lost(let proof):
            writer.uint8(6)
            writer.uint8(proof.rawValue)
        case .drained: writer.uint8(7)
        case .undrained: writer.uint8(8)
        case .shutsDown: writer.uint8(9)
        case .stays: writer.uint8(10)
        case .role(let role):
            writer.uint8(11)
            writer.uint8(role.rawValue)
        case .site(let site):
            writer.uint8(12)
            writer.string(site)
        case .address(let address):
            writer.uint8(13)
            writer.string(address)
        case .labelled: writer.uint8(14)
        case .retires: writer.uint8(15)
        case .kept: writer.uint8(16)
        case .left: writer.uint8(17)
        case .replaced: writer.uint8(18)
        case .certificateRenewed(let until):
            writer.uint8(19)
            writer.uint64(until)
        case .pauseExpected(let length):
            writer.uint8(21)
            writer.span(length)
        case .pauseOver: writer.uint8(22)
        case .authorityWithout: writer.uint8(23)
        case .duplicated(let twins):
            writer.uint8(24)
            writer.list(twins) { $1.encode(into: &$0) }
        case .original(let twin):
            writer.uint8(25)
            twin.encode(into: &writer)
        case .singled: writer.uint8(26)
        case .certificateStuck(let until, let trouble):
            writer.uint8(20)
            writer.uint64(until)
            writer.words(trouble)
        }
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        switch try reader.uint8() {
        case 0: return .joined(site: try reader.string())
        case 1: return .joinedAgain(site: try reader.string())
        case 2: return .up
        case 3: return .upWithNewLog
        case 4: return .silent
        case 5: return .heardAgain
        case 6:
            guard let proof = LossProof(rawValue: try reader.uint8()) else {
                throw .invalid(field: "proof of a loss", offset: reader.offset)
            }
            return .lost(proof)
        case 7: return .drained
        case 8: return .undrained
        case 9: return .shutsDown
        case 10: return .stays
        case 11: return .role(try reader.role())
        case 12: return .site(try reader.string())
        case 13: return .address(try reader.string())
        case 14: return .labelled
        case 15: return .retires
        case 16: return .kept
        case 17: return .left
        case 18: return .replaced
        case 19: return .certificateRenewed(until: try reader.uint64())
        case 21: return .pauseExpected(try reader.span())
        case 22: return .pauseOver
        case 23: return .authorityWithout
        case 24:
            return .duplicated(try reader.list { (reader) throws(CodecError) in try Twin.decode(from: &reader) })
        case 25: return .original(try Twin.decode(from: &reader))
        case 26: return .singled
        case 20: return .certificateStuck(until: try reader.uint64(), try reader.words())
        default: throw .invalid(field: "event of a node", offset: reader.offset)
        }
    }
}

extension ByteWriter {
    mutating func named(_ node: NamedNode) {
        self.node(node.id)
        self.string(node.name)
    }

    mutating func words(_ words: KeptWords) { self.string(words.text) }
}

extension ByteReader {
    mutating func named() throws(CodecError) -> NamedNode { NamedNode(try self.node(), try self.string()) }

    /// Cleaned once more: the bytes came from another node.
    mutating func words() throws(CodecError) -> KeptWords { KeptWords(try self.string()) }
}
