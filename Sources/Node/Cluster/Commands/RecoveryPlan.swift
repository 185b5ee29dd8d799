import Basis
import Raft

/// How the survivors of a lost majority go on: who they are, who was given up, and who signed for it. (Rules R2, R5)
public struct RecoveryPlan: Equatable, Sendable {
    /// What they follow from then on.
    public var generation: Generation
    /// The last generation that is in the log of who made the plan, applied or not: survivors with another past take no part.
    public var base: Generation
    /// The node on which it was asked for.
    public var coordinator: NodeID
    /// All that take part, the coordinator included; sorted.
    public var survivors: [NodeID]
    /// The nodes that a person has given up; sorted.
    public var dead: [NodeID]
    /// What the person signed.
    public var statement: String
    /// Groups are started although nodes that were only seen to be off could be a majority. (Rule R3)
    public var startsGroups: Bool

    /// All fields; sorts the lists.
    public init(
        generation: Generation, base: Generation, coordinator: NodeID, survivors: [NodeID], dead: [NodeID],
        statement: String, startsGroups: Bool
    ) {
        self.generation = generation
        self.base = base
        self.coordinator = coordinator
        self.survivors = survivors.sorted()
        self.dead = dead.sorted()
        self.statement = statement
        self.startsGroups = startsGroups
    }
}

/// How a survivor stands: what an operator looks at before a recovery, and what is compared in it.
public struct SurvivorWord: Equatable, Sendable {
    /// What it follows.
    public var generation: Generation
    /// The last generation in its log, applied or not.
    public var base: Generation
    /// The latest term that it knows: the new one begins above everybody's.
    public var term: Term
    /// The end of its log.
    public var last: LogMark
    /// What it knows to be committed.
    public var committed: LogIndex
    /// How long an owner may still run after this node has ceased to answer renewals. (Rule R3)
    public var wait: Span
    /// It knows of a leader that a majority follows.
    public var hasLeader: Bool
    /// All fields.
    public init(
        generation: Generation, base: Generation, term: Term, last: LogMark, committed: LogIndex, wait: Span,
        hasLeader: Bool
    ) {
        self.term = term
        self.generation = generation
        self.base = base
        self.last = last
        self.committed = committed
        self.wait = wait
        self.hasLeader = hasLeader
    }
}

/// What nodes tell each other about generations. Taken from nodes of any generation: that is what it is about.
public enum RecoveryMessage: Equatable, Sendable {
    /// How do you stand?
    case survey(id: UInt64)
    /// I stand so.
    case surveyed(id: UInt64, SurvivorWord)
    /// Take nothing of the old generation any more, and say how your log ends. (Rule R2)
    case prepare(RecoveryPlan)
    /// I have, and it ends so. (Rule R2)
    case prepared(Generation, SurvivorWord)
    /// I do not, for this reason.
    case unprepared(Generation, reason: String)
    /// Your log is the longest, and the wait is over: begin the new generation, in a term above this one. (Rule R5)
    case execute(RecoveryPlan, above: Term)
    /// You belong to a generation that was left behind. (Rule R1)
    case overtaken(by: RecoveryPlan)
}

/// What a node keeps of its generation beside its log. (Rule R1)
public struct GenerationRecord: Equatable, Sendable {
    /// What it follows.
    public var generation: Generation
    /// The one that left it behind, if one did: it takes part in nothing more.
    public var overtakenBy: Generation?
    /// The log with which it prepared for that generation, if it did: it counts there, whatever it says of itself. (Rule E2.10)
    public var preparedWith: DirectoryID?
    /// All fields.
    public init(_ generation: Generation, overtakenBy: Generation? = nil, preparedWith: DirectoryID? = nil) {
        self.generation = generation
        self.overtakenBy = overtakenBy
        self.preparedWith = preparedWith
    }
}

extension RecoveryPlan {
    /// The longest statement that is kept, in characters.
    static let statementMaximum = 400

    func encode(into writer: inout ByteWriter) {
        writer.generation(self.generation)
        writer.generation(self.base)
        writer.node(self.coordinator)
        writer.list(self.survivors) { $0.node($1) }
        writer.list(self.dead) { $0.node($1) }
        writer.string(self.statement)
        writer.bool(self.startsGroups)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> RecoveryPlan {
        RecoveryPlan(
            generation: try reader.generation(), base: try reader.generation(), coordinator: try reader.node(),
            survivors: try reader.list { (reader) throws(CodecError) in try reader.node() },
            dead: try reader.list { (reader) throws(CodecError) in try reader.node() },
            statement: ForeignText.line(try reader.string(), limit: self.statementMaximum),
            startsGroups: try reader.bool())
    }
}

extension SurvivorWord {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.generation(self.generation)
        writer.generation(self.base)
        writer.uint64(self.term.rawValue)
        writer.uint64(self.last.term.rawValue)
        writer.uint64(self.last.index.rawValue)
        writer.uint64(self.committed.rawValue)
        writer.span(self.wait)
        writer.bool(self.hasLeader)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> SurvivorWord {
        SurvivorWord(
            generation: try reader.generation(), base: try reader.generation(), term: Term(try reader.uint64()),
            last: LogMark(term: Term(try reader.uint64()), index: LogIndex(try reader.uint64())),
            committed: LogIndex(try reader.uint64()), wait: try reader.span(), hasLeader: try reader.bool())
    }
}

extension RecoveryMessage {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .survey(let id):
            writer.uint8(1)
            writer.uint64(id)
        case .surveyed(let id, let word):
            writer.uint8(2)
            writer.uint64(id)
            word.encode(into: &writer)
        case .prepare(let plan):
            writer.uint8(3)
            plan.encode(into: &writer)
        case .prepared(let generation, let word):
            writer.uint8(4)
            writer.generation(generation)
            word.encode(into: &writer)
        case .unprepared(let generation, let reason):
            writer.uint8(5)
            writer.generation(generation)
            writer.string(reason)
        case .execute(let plan, let term):
            writer.uint8(6)
            plan.encode(into: &writer)
            writer.uint64(term.rawValue)
        case .overtaken(let plan):
            writer.uint8(7)
            plan.encode(into: &writer)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> RecoveryMessage {
        switch try reader.uint8() {
        case 1: .survey(id: try reader.uint64())
        case 2: .surveyed(id: try reader.uint64(), try SurvivorWord.decode(from: &reader))
        case 3: .prepare(try RecoveryPlan.decode(from: &reader))
        case 4: .prepared(try reader.generation(), try SurvivorWord.decode(from: &reader))
        case 5: .unprepared(try reader.generation(), reason: ForeignText.line(try reader.string()))
        case 6: .execute(try RecoveryPlan.decode(from: &reader), above: Term(try reader.uint64()))
        case 7: .overtaken(by: try RecoveryPlan.decode(from: &reader))
        default: throw .invalid(field: "recovery message", offset: reader.offset)
        }
    }
}

extension ByteWriter {
    mutating func generation(_ generation: Generation) {
        self.uint32(generation.number)
        self.uint64(generation.recovery)
    }
}

extension ByteReader {
    mutating func generation() throws(CodecError) -> Generation {
        Generation(number: try self.uint32(), recovery: try self.uint64())
    }
}
