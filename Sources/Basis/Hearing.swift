/// One run of somebody who talks to others: of a daemon, or of a volume server. It goes on in whatever memory a machine is
/// brought back with.
public struct RunID: Hashable, Sendable {
    /// Random, or made of what is.
    public let rawValue: UInt64
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Nobody.
    public static let none = RunID(0)
}

/// What every message says about the messages before it. (Rule E4)
public struct HearingWord: Equatable, Sendable {
    /// The run of the receiver that `heard`, `confirmed` and `seen` are about.
    public var run: RunID
    /// The sender's boot clock.
    public var stamp: Tick
    /// The highest stamp that the sender ever had from that run.
    public var heard: Tick
    /// The highest of the sender's own stamps that that run has said to have heard.
    public var confirmed: Tick
    /// How many requests the sender has handed to its disk in this run.
    public var records: UInt64
    /// The highest such number that the sender ever had from that run.
    public var seen: UInt64
    /// What that run promises counts with the sender.
    public var counts: Bool

    /// All fields.
    public init(
        run: RunID, stamp: Tick, heard: Tick = .zero, confirmed: Tick = .zero, records: UInt64 = 0, seen: UInt64 = 0,
        counts: Bool = false
    ) {
        self.run = run
        self.stamp = stamp
        self.heard = heard
        self.confirmed = confirmed
        self.records = records
        self.seen = seen
        self.counts = counts
    }

    /// It says nothing.
    public static let none = HearingWord(run: .none, stamp: .zero)

    /// Appends all fields.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.run.rawValue)
        writer.uint64(self.stamp.nanoseconds)
        writer.uint64(self.heard.nanoseconds)
        writer.uint64(self.confirmed.nanoseconds)
        writer.uint64(self.records)
        writer.uint64(self.seen)
        writer.bool(self.counts)
    }

    /// Takes what `encode` appended.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> HearingWord {
        HearingWord(
            run: RunID(try reader.uint64()), stamp: Tick(nanoseconds: try reader.uint64()),
            heard: Tick(nanoseconds: try reader.uint64()), confirmed: Tick(nanoseconds: try reader.uint64()),
            records: try reader.uint64(), seen: try reader.uint64(), counts: try reader.bool())
    }
}

/// How far one party has heard another, and knows itself heard: enough to see that a machine was taken back to an earlier
/// moment with its memory. Pure; whoever talks keeps one for each other. (Rule E4)
///
/// "You told me that you had heard my message of noon" is proof for who has heard nothing of this sender since eleven: it has
/// forgotten that it did. It does not matter how late the message is, nor how long the machine has run since it was taken
/// back, nor what its clocks say. Who is told so knows it of itself. Of others only a suspicion is found here: what they say
/// shows less than they said before, so it is late, or they were taken back; they are asked, and what they answer shows
/// which.
public struct Hearing: Equatable, Sendable {
    /// What a word shows.
    public enum Finding: Equatable, Sendable {
        /// Nothing strange.
        case good
        /// The sender knew less than it did before: the message is late, or its sender was taken back.
        case late
        /// This very party was taken back to an earlier moment.
        case takenBack
    }

    private struct Known: Equatable, Sendable {
        var run: RunID
        var heard: Tick
        var confirmed: Tick
        var seen: UInt64
    }

    /// So many runs of one party are told apart. Of one that fell out nothing is concluded.
    private static let runsKept = 64
    /// A message that took longer than this is worth a question.
    public static let latenessMaximum = Span.milliseconds(500)

    /// In the order in which they were first heard.
    private var known: [Known] = []
    /// The run that was heard last.
    private var present = 0
    private var isForgetful = false

    /// Nothing was heard.
    public init() {}

    /// The run that was heard last.
    public var run: RunID { self.known.isEmpty ? .none : self.known[self.present].run }
    /// The highest stamp of it.
    public var heard: Tick { self.known.isEmpty ? .zero : self.known[self.present].heard }
    /// The highest own stamp that it has heard.
    public var confirmed: Tick { self.known.isEmpty ? .zero : self.known[self.present].confirmed }

    /// What to say in a message to the other party.
    public func word(stamp: Tick, records: UInt64) -> HearingWord {
        guard !self.known.isEmpty else { return HearingWord(run: .none, stamp: stamp, records: records) }
        let known = self.known[self.present]
        return HearingWord(
            run: known.run, stamp: stamp, heard: known.heard, confirmed: known.confirmed, records: records,
            seen: known.seen)
    }

    /// Takes the word of a message that `sender` sent. `own` is this party's run, and `records` what it would say now.
    public mutating func take(
        _ word: HearingWord, from sender: RunID, own: RunID, records: UInt64, at now: Tick
    ) -> Finding {
        let isAboutMe = word.run == own && own != .none
        let index = self.place(of: sender)
        if isAboutMe {
            // What it says to know of this run, this run must know too.
            let heard = index.map { self.known[$0].heard } ?? (self.isForgetful ? .never : .zero)
            if word.confirmed > heard || word.seen > records || word.heard > now { return .takenBack }
        }
        let here = index ?? self.add(sender)
        let before = self.known[here].confirmed
        self.present = here
        self.known[here].heard = max(self.known[here].heard, word.stamp)
        self.known[here].seen = max(self.known[here].seen, word.records)
        let knows = isAboutMe ? word.heard : .zero
        self.known[here].confirmed = max(before, knows)
        return before > knows + Self.latenessMaximum ? .late : .good
    }

    private func place(of run: RunID) -> Int? {
        if self.present < self.known.count, self.known[self.present].run == run { return self.present }
        return self.known.firstIndex { $0.run == run }
    }

    private mutating func add(_ run: RunID) -> Int {
        if self.known.count >= Self.runsKept {
            self.known.removeFirst()
            self.isForgetful = true
        }
        self.known.append(Known(run: run, heard: .zero, confirmed: .zero, seen: 0))
        return self.known.count - 1
    }
}
