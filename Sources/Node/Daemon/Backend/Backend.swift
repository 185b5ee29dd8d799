import API
import Agents
import Basis
import Cluster
import ClusterConfiguration
import Host
import Reports
import Resources
import SecureLink

/// What the API does: reads look at the supervisor, changes go through the log.
struct Backend: APIBackend {
    let loop: DaemonLoop
    let queue: LoopQueue
    let joins: JoinServer
    let certificateKeeper: CertificateKeeper
    let file: NodeFile
    /// Where the guard leaves its note about the watchdog.
    var runDirectory = ""
    /// The OCF agents of this machine.
    var installedAgents: @Sendable () -> [String] = { [] }

    private static let eventPoll = Span.milliseconds(150)

    // MARK: Looking

    func view() async throws -> SupervisorView {
        guard let view = await DaemonLoop.view(self.loop, queue: self.queue) else {
            throw APIFailure(.error, "the daemon is starting", remedy: "ask again in a moment")
        }
        return view
    }

    /// A view that knows how every node stands: one without a vote does not hear all of them by itself. (Rule J7)
    func wholeView(notBefore index: LogIndex = .zero) async throws -> SupervisorView {
        let view = try await self.view(notBefore: index)
        guard view.supervisor.hearsNotAll(at: view.now) else { return view }
        _ = await self.ask(.gather, within: .seconds(1))
        return try await self.view(notBefore: index)
    }

    func status() async throws -> StatusReport { try await self.status(notBefore: .zero) }

    func status(notBefore index: LogIndex) async throws -> StatusReport {
        let watchdog = WatchdogNote.read(runDirectory: self.runDirectory)
        let machine = MachineFacts(
            watchdogLack: watchdog.flatMap { $0.isArmed ? nil : $0.text },
            carriers: AttachedVolumes.carriers(runDirectory: self.runDirectory))
        return StatusBuilder(try await self.wholeView(notBefore: index), machine: machine)
            .report(clusterName: self.file.cluster, nodeName: self.file.name)
    }

    func policy() async throws -> PolicyReport {
        let state = try await self.view().supervisor.state
        return PolicyReport(text: ConfigurationWriter.render(state.policy), index: state.policyIndex.rawValue)
    }

    func explain(_ group: String) async throws -> ExplainReport {
        let view = try await self.wholeView()
        guard let report = Explainer(StatusBuilder(view)).report(group) else {
            throw self.unknownGroup(group, view.supervisor.state)
        }
        return report
    }

    func events(after: UInt64, limit: Int, latest: Bool, waitSeconds: Double) async throws -> EventsReport {
        let end = MachineClock.now + .milliseconds(UInt64(max(0, waitSeconds) * 1000))
        while true {
            let state = try await self.view().supervisor.state
            let found = state.events.filter { $0.index.rawValue > after }
            if !found.isEmpty || MachineClock.now >= end {
                var page = Array(latest ? found.suffix(max(1, limit)) : found.prefix(max(1, limit)))
                let older = latest ? found.count - page.count : 0
                // All events of one entry belong to one page: the next begins after its index.
                if let last = page.last, !latest {
                    page += found.dropFirst(page.count).prefix { $0.index == last.index }
                }
                return EventsReport(
                    events: page.map { EventReport($0) }, nextAfter: page.last?.index.rawValue ?? after,
                    older: older)
            }
            try await Task.sleep(nanoseconds: Self.eventPoll.nanoseconds)
        }
    }

    func counters() async throws -> CountersReport {
        let view = try await self.view()
        return view.told.report(
            node: self.file.name, seconds: Double(view.now.since(view.startedAt).milliseconds) / 1000)
    }

    func createToken() async throws -> TokenReport {
        guard self.joins.keepsAuthority else {
            throw APIFailure(
                .refused, "\(self.file.name) does not keep the key of the cluster's authority",
                remedy: "run `holdfast token` on a member; one that has none asks the others for it")
        }
        let token = try self.joins.createToken()
        return TokenReport(token: token.description, validSeconds: JoinServer.validity.milliseconds / 1000)
    }

    func tokens() async throws -> TokensReport {
        TokensReport(
            node: self.file.name,
            tokens: try self.joins.listTokens().map {
                TokensReport.Token(id: $0.id, validSeconds: $0.left.milliseconds / 1000, node: $0.name)
            })
    }

    func revokeToken(_ id: String) async throws -> MutationResult {
        guard try self.joins.revokeToken(id) else {
            throw APIFailure(
                .notFound, "\(self.file.name) has no token \(id)",
                remedy: "see `holdfast token list` on the node that printed it; one that is used or too old is gone")
        }
        return MutationResult(accepted: true, sentence: "the token \(id) lets nobody in any more")
    }

    // MARK: Proposing

    /// Replicates a command and returns the index at which it was accepted.
    func propose(_ command: Command) async throws -> LogIndex {
        switch await self.ask(.propose(command)) {
        case .applied(.accepted, let index): return index
        case .applied(.refused(let refusal), _): throw Self.failure(refusal)
        case .handedOn, .gathered, .inspected, .shuttingDown, .readable, .surveyed: return .zero
        case .noQuorum: throw Self.undecided
        }
    }

    static let undecided = APIFailure(
        .noQuorum, "no majority of voters answered in time; the change may still take effect",
        remedy: "look at `holdfast status`, and try again once a majority is back")

    /// The supervisor gives most requests up after ten seconds; a loop that its disk holds up does not.
    func ask(_ request: ClientRequest, within patience: Span = .seconds(15)) async -> ClientReply {
        let answer = OneAnswer<ClientReply>()
        self.queue.change { $0.append(.request(request) { answer.give($0) }) }
        let limit = Task {
            try? await Task.sleep(nanoseconds: patience.nanoseconds)
            answer.give(.noQuorum)
        }
        defer { limit.cancel() }
        return await answer.value()
    }

    /// What a refused command is to the caller: the exit code follows from the case, never from the words.
    static func failure(_ refusal: Refusal) -> APIFailure {
        switch refusal {
        case .changedMeanwhile: APIFailure(.conflict, refusal.description, remedy: "")
        case .changes(let changes):
            APIFailure(
                .refused,
                "\(changes.count == 1 ? "a change" : "\(changes.count) changes") cannot be made while the cluster runs; "
                    + "nothing was changed", remedy: "see docs/configuration-changes.md for every key",
                details: changes.map(\.description))
        case .unknown: APIFailure(.notFound, refusal.description, remedy: "see `holdfast status`")
        case .over, .differs:
            APIFailure(.conflict, refusal.description, remedy: "look again with `holdfast status`, then try again")
        case .repeated, .unauthorised, .unfit:
            APIFailure(.refused, refusal.description, remedy: "see `holdfast status` and `holdfast explain`")
        }
    }

    func conflict(_ expected: LogIndex, _ state: ClusterState) -> APIFailure {
        APIFailure(
            .conflict, "the configuration in force has index \(state.policyIndex), not \(expected)",
            remedy: "look at the difference with `holdfast plan FILE`, then apply with --index \(state.policyIndex)")
    }

    func unknownGroup(_ name: String, _ state: ClusterState) -> APIFailure {
        let known = state.groups.map(\.name.rawValue)
        return APIFailure(
            .notFound, "there is no group \(name)",
            remedy: known.isEmpty ? "the configuration has none yet" : "there is \(known.joined(separator: ", "))")
    }
}
