import Basis
import Cluster
import Raft
import Resources
import Testing

@testable import Simulator

/// The log as the simulator reads it: each of its checks is shown a log that may not be.
@Suite struct HistoryTests {
    private static let group = GroupName("orders")

    /// A cluster of two with one group, and a log that goes on.
    private struct Log {
        var history = History()
        var sequence: UInt64 = 0

        init() {
            self.add(
                .bootstrap(
                    clusterID: 1, clusterName: "one",
                    node: JoiningNode(name: "a", site: "s", address: "a:1", role: .member)))
            self.add(.addNode(JoiningNode(name: "b", site: "s", address: "b:1", role: .member)))
            self.add(Self.configuration(after: .zero, "orders"))
        }

        static func configuration(after index: LogIndex, _ groups: String...) -> Command {
            let policy = ClusterPolicy(
                name: "one", timing: .standard, volumes: [],
                groups: groups.map { GroupPolicy(name: GroupName($0), nodes: ["a", "b"], resources: []) })
            return .configure(policy, text: "", expectedIndex: index)
        }

        @discardableResult
        mutating func add(_ command: Command, sequence: UInt64? = nil, at seconds: UInt64 = 0) -> LogIndex {
            self.sequence += 1
            let index = self.history.state.appliedIndex.next
            let entry = LogCommand(
                origin: NodeID(1), nonce: 1, sequence: sequence ?? self.sequence, clusterMilliseconds: 0,
                wallMilliseconds: 0, command: command)
            self.history.apply(
                Entry(mark: LogMark(term: Term(1), index: index), payload: .command(entry.encoded)),
                after: History.Disturbance(number: 1, at: 0), at: seconds * 1_000_000_000)
            return index
        }
    }

    @Test func `what an operator is told is looked for in the log`() {
        var log = Log()
        let wish = Command.want(Self.group, isRunning: false)
        let first = log.history.ask(wish)
        let index = log.add(wish)
        log.history.answered(first, at: index)
        #expect(log.history.violation == nil)
        #expect(log.history.answers == 1)
        let second = log.history.ask(.want(Self.group, isRunning: true))
        log.history.answered(second, at: index)
        #expect(log.history.violation?.hasPrefix("ConfigLinear: ") == true)
    }

    @Test func `what is asked after an answer comes after it in the log`() {
        var log = Log()
        let wish = Command.want(Self.group, isRunning: false)
        let early = log.add(wish)
        let first = log.history.ask(wish)
        log.history.answered(first, at: log.add(wish))
        let second = log.history.ask(wish)
        log.history.answered(second, at: early)
        #expect(log.history.violation?.hasPrefix("ConfigLinear: ") == true)
    }

    @Test func `what was acknowledged is in force at the end`() {
        var log = Log()
        let before = log.history.state
        let command = Log.configuration(after: before.policyIndex, "orders", "cache")
        let id = log.history.ask(command)
        log.history.answered(id, at: log.add(command))
        #expect(log.history.violation == nil)
        var same = log
        same.history.checkEnd(log.history.state)
        #expect(same.history.violation == nil)
        log.history.checkEnd(before)
        #expect(log.history.violation?.hasPrefix("ConfigLinear: ") == true)
    }

    @Test func `what is known of a log is never lowered (E2.7)`() {
        let directory = DirectoryID(high: 1, low: 2)
        let first = StartMark(directory: directory, start: 1, nonce: 1)
        let second = StartMark(directory: directory, start: 2, nonce: 2)
        var log = Log()
        log.add(.admit(NodeID(1), bootID: "boot", mark: first))
        log.history.checkMarks([first, .none], at: log.history.state.appliedIndex)
        #expect(log.history.violation == nil)
        log.history.checkMarks([second, .none], at: log.history.state.appliedIndex)
        #expect(log.history.violation?.hasPrefix("MarksNeverLowered: ") == true)
    }

    @Test func `an entry is not left out`() {
        var log = Log()
        let index = log.history.state.appliedIndex.next.next
        log.history.apply(
            Entry(mark: LogMark(term: Term(1), index: index), payload: .empty), after: History.Disturbance(), at: 0)
        #expect(log.history.violation?.hasPrefix("History: ") == true)
    }

    @Test func `a group moves only when something happened, and not again and again`() {
        var calm = Log()
        calm.history.moved(Self.group, to: NodeID(1), after: History.Disturbance(number: 1, at: 0), at: 0)
        calm.history.moved(Self.group, to: NodeID(2), after: History.Disturbance(number: 2, at: 0), at: 1_000_000_000)
        #expect(calm.history.violation == nil)
        var late = calm
        late.history.moved(Self.group, to: NodeID(1), after: History.Disturbance(number: 2, at: 0), at: 61_000_000_000)
        #expect(late.history.violation?.hasPrefix("NoFlap: ") == true)
        for turn in 0..<UInt32(History.movesForOneCause) {
            calm.history.moved(
                Self.group, to: NodeID(turn % 2 + 1), after: History.Disturbance(number: 2, at: 0), at: 2_000_000_000)
        }
        #expect(calm.history.violation?.hasPrefix("NoFlap: ") == true)
    }
}
