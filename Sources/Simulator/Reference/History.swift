import Basis
import Cluster
import Raft

/// The log as it should read: every entry is applied once more, in order, by a state of its own that no node has. It tells
/// what the truth is, whether every action can be explained, and whether what operators were told holds.
struct History {
    /// A command of an operator.
    private struct Asked {
        let command: Command
        /// All that was acknowledged before it was asked comes before it.
        let after: LogIndex
    }

    /// The truth: what all entries that were applied anywhere lead to.
    private(set) var state = ClusterState()
    private(set) var violation: String?
    /// Actions whose reason was looked up, answers that were compared, and moves that were judged.
    private(set) var explained: UInt64 = 0
    private(set) var answers: UInt64 = 0
    private(set) var moves: UInt64 = 0
    /// Accepted changes of who is in the cluster and what each node is for, and entries about who votes.
    private(set) var memberChanges: UInt64 = 0
    private(set) var voterChanges: UInt64 = 0
    /// Where a pause of each node was last announced, or was no longer expected. (Rule L22)
    private(set) var pauses: [NodeID: LogIndex] = [:]

    private var asked: [UInt64: Asked] = [:]
    /// Above all numbers of wishes.
    private var nextID = Self.firstID
    static let firstID: UInt64 = 1 << 32
    /// Answers that came in the step that applied their entries.
    private var waiting: [Answer] = []
    /// Entries that let a node have groups again.
    private var released = Disturbance()
    /// The latest entry that an operator was told of.
    private var acknowledged = LogIndex.zero
    /// What was accepted, by who asked for it.
    private var accepted: [Request: LogIndex] = [:]
    /// What operators asked for and the log accepted.
    private var wishes: [LogIndex: Command] = [:]
    /// For each group where it ran last, and how often it has moved since something happened.
    private var homes: [GroupName: Home] = [:]

    private struct Answer {
        var index: LogIndex
        var asked: Asked
    }

    private struct Request: Hashable {
        var origin: NodeID
        var nonce: UInt64
        var sequence: UInt64
    }

    /// Something that may move groups.
    struct Disturbance {
        /// How many there were.
        var number: UInt64 = 0
        /// When the latest was.
        var at: UInt64 = 0
    }

    private struct Home {
        var node: NodeID
        var cause: UInt64 = 0
        var moves = 0
    }

    /// How often one thing that happens may move one group: away, back, and once for each node that fails to start it.
    static let movesForOneCause = 6
    /// A group moves at the latest so long after whatever happened: longer than all that a move waits for.
    static let patience = Span.seconds(60)

    private mutating func fail(_ text: String) {
        if self.violation == nil { self.violation = text }
    }

    init() {}

    /// Another one; what operators ask is counted on, so that an answer from before is none to what is asked since.
    init(after other: History) { self.nextID = other.nextID }

    // MARK: Entries

    /// The next entry, when it is applied somewhere for the first time.
    mutating func apply(_ entry: Entry, after cause: Disturbance, at now: UInt64) {
        self.enter(entry, after: cause, at: now)
        while let answer = self.waiting.first, answer.index <= self.state.appliedIndex {
            self.waiting.removeFirst()
            self.check(answer)
        }
    }

    private mutating func enter(_ entry: Entry, after cause: Disturbance, at now: UInt64) {
        guard entry.mark.index == self.state.appliedIndex.next else {
            return self.fail("History: entry \(entry.mark) follows \(self.state.appliedIndex)")
        }
        if case .membership = entry.payload { self.voterChanges += 1 }
        guard case .command(let bytes) = entry.payload else { return self.state.skip(to: entry.mark.index) }
        let command: LogCommand
        do { command = try LogCommand(decoding: bytes) } catch {
            return self.fail("History: entry \(entry.mark) cannot be read: \(error)")
        }
        let before = self.state.policyIndex
        let known = self.state.nodes.map(\.mark)
        guard self.state.apply(command, at: entry.mark.index, term: entry.mark.term) == .accepted else { return }
        self.checkMarks(known, at: entry.mark.index)
        self.checkOnce(command, at: entry.mark.index)
        self.checkExplained(command.command, at: entry.mark.index)
        switch command.command {
        case .configure(_, _, let expected):
            if before != expected {
                self.fail("ConfigLinear: entry \(entry.mark.index) replaces configuration \(before), meant \(expected)")
            }
            self.wishes[entry.mark.index] = command.command
        case .want, .move, .drain: self.wishes[entry.mark.index] = command.command
        case .expectPause(let node, _, _):
            self.pauses[node] = entry.mark.index
            self.wishes[entry.mark.index] = command.command
        case .assign(let group, let node, _, _, _, _): self.moved(group, to: node, after: cause, at: now)
        case .setNode, .retire, .replaceNode, .expel, .addNode: self.memberChanges += 1
        case .forgive, .joins, .copy:
            // What was in the way of a node is over: that moves groups too.
            self.released.number += 1
            self.released.at = now
        default: break
        }
    }

    /// MarksNeverLowered: what is known of a log stays known, until another log takes its place. (Rule E2.7)
    mutating func checkMarks(_ known: [StartMark], at index: LogIndex) {
        for (node, mark) in zip(self.state.nodes, known) where node.mark.isBefore(mark) {
            self.fail("MarksNeverLowered: entry \(index) takes \(node.about.name) back from \(mark) to \(node.mark)")
        }
    }

    /// AppliedOnce: what was sent again has no effect again.
    private mutating func checkOnce(_ command: LogCommand, at index: LogIndex) {
        guard command.sequence != 0 else { return }
        let request = Request(origin: command.origin, nonce: command.nonce, sequence: command.sequence)
        if let before = self.accepted.updateValue(index, forKey: request) {
            self.fail("AppliedOnce: entries \(before) and \(index) are one request, \(command.command)")
        }
    }

    /// Explained: whatever is done to a group has an event with its entry, its rule and a sentence.
    private mutating func checkExplained(_ command: Command, at index: LogIndex) {
        let concerned: GroupName?
        switch command {
        case .assign(let group, _, _, _, _, _), .release(let group, _, _, _), .park(let group, _, _, _):
            concerned = group
        case .lost, .suspect, .configure, .expel: concerned = nil
        default: return
        }
        self.explained += 1
        let isTold = self.state.events.suffix(16).contains { event in
            event.index == index && !event.rule.rawValue.isEmpty && !event.sentence.isEmpty
                && (concerned == nil || event.group == concerned)
        }
        if !isTold { self.fail("Explained: no event tells of entry \(index), \(command)") }
    }

    /// NoFlap: a group moves only when something happened, and not again and again.
    mutating func moved(_ group: GroupName, to node: NodeID, after world: Disturbance, at now: UInt64) {
        let cause = world.number + self.released.number
        let since = Span(nanoseconds: now - max(world.at, self.released.at))
        guard var home = self.homes[group] else {
            self.homes[group] = Home(node: node, cause: cause)
            return
        }
        guard home.node != node else { return }
        self.moves += 1
        home.node = node
        home.moves = home.cause == cause ? home.moves + 1 : 1
        home.cause = cause
        self.homes[group] = home
        if since > Self.patience {
            self.fail("NoFlap: \(group) moves to \(node), \(since) after anything happened")
        } else if home.moves > Self.movesForOneCause {
            self.fail("NoFlap: \(group) moves to \(node), the \(home.moves). time since anything happened")
        }
    }

    // MARK: Operators

    /// An operator asks for this: the number that the answer will bear.
    mutating func ask(_ command: Command) -> UInt64 {
        self.nextID += 1
        self.asked[self.nextID] = Asked(command: command, after: self.acknowledged)
        return self.nextID
    }

    /// ConfigLinear, and the same for every wish: what was acknowledged is in the log, after all that was acknowledged before
    /// it was asked.
    mutating func answered(_ id: UInt64, at index: LogIndex) {
        guard let asked = self.asked.removeValue(forKey: id) else { return }
        self.acknowledged = max(self.acknowledged, index)
        let answer = Answer(index: index, asked: asked)
        if index <= self.state.appliedIndex { self.check(answer) } else { self.waiting.append(answer) }
    }

    private mutating func check(_ answer: Answer) {
        self.answers += 1
        if self.wishes[answer.index] != answer.asked.command {
            self.fail("ConfigLinear: entry \(answer.index) was acknowledged for another, \(answer.asked.command)")
        }
        if answer.index <= answer.asked.after {
            self.fail(
                "ConfigLinear: \(answer.asked.command) is entry \(answer.index), before \(answer.asked.after), which "
                    + "was acknowledged before it was asked")
        }
    }

    /// A lost majority was left behind: what operators were told before counts no more. (Rule R5)
    mutating func forgetOperators() {
        self.asked = [:]
        self.waiting = []
        self.acknowledged = .zero
    }

    /// For ever: what was acknowledged is in force, or something later is.
    mutating func checkEnd(_ state: ClusterState) {
        if state.appliedIndex < self.acknowledged || state.policyIndex < self.state.policyIndex {
            self.fail(
                "ConfigLinear: configuration \(self.state.policyIndex) and all up to \(self.acknowledged) were "
                    + "acknowledged; in force is \(state.policyIndex) at \(state.appliedIndex)")
        }
        guard state.appliedIndex == self.state.appliedIndex else { return }
        if state != self.state { self.fail("SameState: the same entries led to another state on a node") }
    }
}
