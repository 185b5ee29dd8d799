import API
import Basis
import Cluster
import ClusterConfiguration
import Raft
import Reports

/// Leaving a lost majority behind. (Rules R1 to R5)
extension Backend {
    /// How long survivors may take: to prepare, to wait for the end of leases, and to begin.
    private static let patience = Span.seconds(28)

    func recovery() async throws -> RecoveryReport {
        let view = try await self.view()
        guard case .surveyed(let words) = await self.ask(.survey) else { throw Self.undecided }
        return self.report(view, words)
    }

    func recover(_ request: RecoveryRequest) async throws -> MutationResult {
        let view = try await self.view()
        guard case .surveyed(let words) = await self.ask(.survey) else { throw Self.undecided }
        let report = self.report(view, words)
        if let objection = report.objection {
            throw APIFailure(.refused, objection, remedy: report.remedy ?? "see `holdfast status`")
        }
        let state = view.supervisor.state
        let dead = try request.dead.map { try self.node($0, state).id }.sorted()
        try self.check(dead, words, state)
        let statement = Self.statement(dead.map { state.name(of: $0) }, after: state.generation)
        let sentence = "the survivors go on without \(Self.list(dead.map { state.name(of: $0) }))"
        guard let signed = request.statement else {
            var result = MutationResult(accepted: false, sentence: sentence, statement: statement)
            result.facts = report.consequences
            return result
        }
        guard signed.trimmed == statement else {
            throw APIFailure(
                .refused, "that is not the statement that was asked for; nothing was changed",
                remedy: "look again, then type exactly: \(statement)")
        }
        let order = RecoveryOrder(
            recovery: try Founding.randomNumber(), above: RecoverySurvey(words).highestNumber, dead: dead,
            prepared: RecoverySurvey(words).prepared, statement: statement, startsGroups: request.startsGroups)
        switch await self.ask(.recover(order), within: Self.patience) {
        case .applied(.accepted, let index):
            return MutationResult(accepted: true, index: index.rawValue, sentence: sentence)
        case .applied(.refused(let refusal), _): throw Self.failure(refusal)
        default:
            throw APIFailure(
                .timeout, "the recovery did not end in time; it may still take effect",
                remedy: "look at `holdfast cluster recover --preview`, and give the order again if nothing has begun")
        }
    }

    func rejoin() async throws -> MutationResult {
        switch await self.ask(.rejoin) {
        case .handedOn:
            return MutationResult(
                accepted: true,
                sentence:
                    "the log of \(self.file.name) is kept aside and this daemon ends; the next one comes back with an empty "
                    + "log, without a vote until it has learned everything")
        case .applied(.refused(let refusal), _): throw Self.failure(refusal)
        default: throw Self.undecided
        }
    }

    /// Everybody is either alive and answers, or given up: whoever is neither may have acknowledged what would be lost unseen.
    private func check(_ dead: [NodeID], _ words: [Surveyed], _ state: ClusterState) throws {
        if let alive = dead.first(where: { node in words.contains { $0.node == node } }) {
            let name = state.name(of: alive)
            throw APIFailure(
                .refused, "\(name) answers: it is not dead",
                remedy:
                    "switch it off, or leave it out of the list; if it cannot be reached by the others, repair that instead"
            )
        }
        let silent = RecoverySurvey(words).silent(of: state)
        if let unnamed = silent.first(where: { !dead.contains($0) }) {
            let name = state.name(of: unnamed)
            throw APIFailure(
                .refused, "nothing was said about \(name), which does not answer",
                remedy: "start its daemon, or make sure that it is off and give --dead \(name)")
        }
    }

    private static func statement(_ dead: [String], after generation: UInt32) -> String {
        "\(Self.list(dead)) \(dead.count == 1 ? "is" : "are") off, and what they alone knew after generation \(generation) may "
            + "be lost"
    }

    private static func list(_ names: [String]) -> String {
        guard let last = names.last, names.count > 1 else { return names.first ?? "nobody" }
        return names.dropLast().joined(separator: ", ") + " and " + last
    }

    // MARK: Looking

    private func report(_ view: SupervisorView, _ words: [Surveyed]) -> RecoveryReport {
        let state = view.supervisor.state
        let membership = view.supervisor.consensus.membership
        let nodes = state.nodes.map { record in
            let word = words.first { $0.node == record.id }?.word
            return RecoveryReport.Node(
                name: record.about.name, answers: word != nil, generation: word?.generation.number,
                lastTerm: word?.last.term.rawValue, lastIndex: word?.last.index.rawValue,
                committedIndex: word?.committed.rawValue, votes: membership.isVoter(record.id))
        }.sorted { $0.name < $1.name }
        var report = RecoveryReport(servedBy: self.file.name, generation: state.generation, nodes: nodes)
        let silent = nodes.filter { !$0.answers }.map(\.name)
        (report.objection, report.remedy) = self.objection(view, words)
        guard report.objection == nil else { return report }
        let last = words.map(\.word.last).max()
        report.chosen = words.first { $0.word.last == last }.map { state.name(of: $0.node) }
        report.waitSeconds = Double(words.map(\.word.wait.milliseconds).max() ?? 0) / 1000
        report.consequences = self.consequences(state, words)
        if let overtaker = view.supervisor.generation.overtakenBy {
            report.consequences.insert(
                "generation \(overtaker.number) has left this node behind: all that it did is lost. `holdfast cluster rejoin` "
                    + "brings this node back to it instead", at: 0)
        }
        report.command = "holdfast cluster recover --execute" + silent.map { " --dead \($0)" }.joined()
        return report
    }

    private func objection(_ view: SupervisorView, _ words: [Surveyed]) -> (String?, String?) {
        let state = view.supervisor.state
        switch RecoverySurvey(words).objection(on: view.supervisor) {
        case nil: return (nil, nil)
        case .leads(let node):
            return (
                "\(state.name(of: node)) follows a leader: a majority is alive, and nothing is to be recovered",
                "see `holdfast status` there"
            )
        case .later(let node):
            return (
                "\(state.name(of: node)) knows of a later generation than this node",
                "ask for it on \(state.name(of: node))"
            )
        case .majorityAnswers:
            return (
                "a majority of the voters answers, and will elect a leader",
                "wait a few seconds, and see `holdfast status`"
            )
        }
    }

    /// What the logs of the survivors hold beyond what is known to be decided, as a sentence; nil for nothing.
    static func undecided(after committed: UInt64, to last: UInt64) -> String? {
        guard last > committed else { return nil }
        let first = committed + 1
        return first == last
            ? "entry \(last) was perhaps never decided; it is kept"
            : "entries \(first) to \(last) were perhaps never decided; they are kept"
    }

    private func consequences(_ state: ClusterState, _ words: [Surveyed]) -> [String] {
        let last = words.map(\.word.last.index.rawValue).max() ?? 0
        let committed = words.map(\.word.committed.rawValue).max() ?? 0
        var lines = [
            "what the lost majority decided after entry \(last) is lost, and nobody here can know whether there was any: "
                + "assignments, copies that joined or left, configurations, attributes, nodes"
        ]
        if let undecided = Self.undecided(after: committed, to: last) { lines.append(undecided) }
        lines.append("the configuration that counts is that of entry \(state.policyIndex)")
        for group in state.groups {
            guard let owner = group.assignment else { continue }
            lines.append(
                "group \(group.name) was on \(state.name(of: owner.node)) under epoch \(group.epoch), as far as is known here"
            )
        }
        for volume in state.volumes where volume.epoch != .none {
            let holders = volume.holders.map { state.name(of: $0) }
            lines.append(
                "volume \(volume.name): \(Self.list(holders)) held every write under epoch \(volume.epoch), as far as is known "
                    + "here; that may have changed, so a person signs for a copy (`holdfast volume accept-loss \(volume.name)`)"
            )
        }
        lines.append(
            "groups stay stopped until `holdfast group start`, unless --start-although-unproven is given: if the nodes that are "
                + "given up run after all, and reach no survivor, they may run the same groups")
        return lines
    }
}
