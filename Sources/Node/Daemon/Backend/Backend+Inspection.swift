import Basis
import Cluster
import ClusterConfiguration
import Host
import Reports
import Resources

/// Asking the machines about a configuration before it is put into force.
extension Backend {
    /// Longer than this nobody waits for a machine, however it is.
    private static let inspectionTime = Span.milliseconds(3000)

    /// What the machines said.
    struct Inspected: Sendable {
        var answers: [String: [InspectionQuestion: InspectionAnswer]] = [:]
        /// Nodes that did not answer, each as one sentence.
        var silent: [String] = []
    }

    /// Asks every node that a configuration concerns, all at once, and waits no longer than a moment.
    func inspect(_ inspection: ConfigurationInspection, _ state: ClusterState) async -> Inspected {
        var inspected = Inspected()
        await withTaskGroup(of: (String, [InspectionQuestion], [InspectionAnswer]?).self) { group in
            for (name, questions) in inspection.questions {
                guard let node = state.node(named: name), !questions.isEmpty else { continue }
                let isUp = node.standing == .trusted
                group.addTask {
                    (name, questions, isUp ? await self.inspect(node.id, questions) : nil)
                }
            }
            for await (name, questions, answers) in group {
                guard let answers, answers.count == questions.count else {
                    inspected.silent.append(
                        "\(name) did not answer: what is installed there was not looked at")
                    continue
                }
                inspected.answers[name] = Dictionary(zip(questions, answers)) { first, _ in first }
            }
        }
        inspected.silent.sort()
        return inspected
    }

    /// One node's answers; nil if there are none in time.
    func inspect(_ node: NodeID, _ questions: [InspectionQuestion]) async -> [InspectionAnswer]? {
        let answer = OneAnswer<[InspectionAnswer]?>()
        self.queue.change {
            $0.append(
                .request(.inspect(node, questions)) { reply in
                    if case .inspected(let answers) = reply { answer.give(answers) } else { answer.give(nil) }
                })
        }
        let limit = Task {
            try? await Task.sleep(nanoseconds: Self.inspectionTime.nanoseconds)
            answer.give(nil)
        }
        defer { limit.cancel() }
        return await answer.value()
    }

    func agents() async throws -> AgentsReport {
        AgentsReport(node: self.file.name, agents: self.installedAgents())
    }

    func agent(_ name: String) async throws -> AgentReport {
        switch await self.inspect(self.file.id, [.agent(name)])?.first {
        case .agent(let metadata)?:
            return AgentReport(
                node: self.file.name, agent: name, summary: metadata.summary,
                parameters: metadata.parameters.map {
                    .init(name: $0.name, required: $0.isRequired, standard: $0.standard, summary: $0.summary)
                },
                actions: metadata.actions.map { action in
                    .init(name: action.name, timeoutSeconds: action.timeout.map { Double($0.milliseconds) / 1000 })
                })
        case .no(let reason)?:
            throw APIFailure(
                .notFound, "there is no agent \(name) on \(self.file.name): \(reason)",
                remedy: "see `holdfast agent list`")
        case .unknown(let reason)?:
            throw APIFailure(.error, "\(name): \(reason)", remedy: "run it with `meta-data` by hand to see why")
        case .yes?, nil:
            throw APIFailure(.timeout, "\(self.file.name) was too busy to look", remedy: "try again")
        }
    }
}
