import Basis
import Cluster
import SecureLink

/// What who was dialled says to who dialled: it has left the cluster, and nobody here listens to it. A second frame says whose log
/// says so. (Rule J6)
enum Farewell {
    private static let body: [UInt8] = [1]
    private static let generation: UInt8 = 2
    private static let twin: UInt8 = 3
    /// A peer of another release may say something else.
    private static let limit = 4096

    static func send(_ generation: Generation, to stream: TLSStream) {
        var writer = ByteWriter()
        writer.uint8(Self.generation)
        writer.uint32(generation.number)
        writer.uint64(generation.recovery)
        // Who hears nothing of it dials once more, and is told then.
        try? LinkFrames.write(self.body, to: stream)
        try? LinkFrames.write(writer.bytes, to: stream)
    }

    /// Says that another machine may be this node, or is, and that nobody here listens to this one. (Rule E5)
    static func send(_ word: TwinWord, to stream: TLSStream) {
        var writer = ByteWriter()
        word.encode(into: &writer)
        try? LinkFrames.write([Self.twin], to: stream)
        try? LinkFrames.write(writer.bytes, to: stream)
    }

    /// Waits until the other end says something or is gone; nil unless it said farewell.
    static func wait(on stream: TLSStream) -> Parting? {
        var reader = LinkReader(stream, limit: self.limit)
        guard let first = try? reader.next() else { return nil }
        guard let frame = try? reader.next() else { return first == self.body ? .left(nil) : nil }
        var bytes = ByteReader(frame)
        if first == [Self.twin] { return (try? TwinWord.decode(from: &bytes)).map { .twin($0) } }
        guard first == self.body else { return nil }
        guard (try? bytes.uint8()) == self.generation, let number = try? bytes.uint32(),
            let recovery = try? bytes.uint64()
        else { return .left(nil) }
        return .left(Generation(number: number, recovery: recovery))
    }
}

/// Why somebody who was dialled does not listen to this node.
enum Parting: Equatable, Sendable {
    /// It has left the cluster, by a log of this generation; nil where the other end does not say it. (Rule J6)
    case left(Generation?)
    /// Another machine may be this node, or is. (Rule E5)
    case twin(TwinWord)

    /// What the supervisor is told; nothing where another certificate is meant than the one that this machine has by now.
    func input(from node: NodeID, _ identity: TLSIdentity) -> SupervisorInput? {
        switch self {
        case .left(let generation): .shownOut(by: node, of: generation)
        case .twin(let word): word.isDecided && !identity.shows(word.shown) ? nil : .isTwin(says: node, word)
        }
    }

    /// So long until it is dialled again.
    var pause: Span {
        switch self {
        case .left: .seconds(30)
        // A person may say any moment that this machine is the one.
        case .twin: .seconds(3)
        }
    }
}
