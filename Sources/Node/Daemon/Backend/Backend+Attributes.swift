import Basis
import Cluster
import Host
import Reports

/// Attributes, and whatever is to be no older than what anybody was told before.
extension Backend {
    // MARK: Reading

    func consistentStatus() async throws -> StatusReport {
        let (index, _) = try await self.readable()
        return try await self.status(notBefore: index)
    }

    func attributes(scope: String?, isStale: Bool) async throws -> AttributesReport {
        try await self.attributes(scope, named: nil, isStale: isStale)
    }

    private func attributes(
        _ scope: String?, named name: String?, isStale: Bool
    ) async throws -> AttributesReport {
        let view = try await self.view()
        let state = view.supervisor.state
        // A node that is not known here may have joined by the time that the answer is about: it is looked up again below.
        let wanted = isStale ? try scope.map { try self.scope($0, state) } : nil
        if isStale {
            let seen = view.leaderSeenAt ?? view.startedAt
            let age = Double(view.now.since(seen).milliseconds) / 1000
            return self.report(
                state.attributes, of: wanted, named: name, state, at: state.appliedIndex, ageSeconds: age)
        }
        let (index, attributes) = try await self.readable()
        let names = try await self.view(notBefore: index).supervisor.state
        return self.report(
            attributes, of: try scope.map { try self.scope($0, names) }, named: name, names, at: index)
    }

    func attribute(_ scope: String, _ name: String, isStale: Bool) async throws -> AttributesReport {
        let report = try await self.attributes(scope, named: name, isStale: isStale)
        guard report.attributes.isEmpty else { return report }
        throw APIFailure(
            .notFound, "\(scope) has no attribute \(ForeignText.line(name))",
            remedy: "see `holdfast attribute list`")
    }

    /// An index up to which everything holds, and the attributes of then. (Rule A2)
    func readable() async throws -> (LogIndex, Attributes) {
        guard case .readable(let index, let attributes) = await self.ask(.read) else {
            throw APIFailure(
                .noQuorum, "no majority of voters answered in time, so what holds now is not known",
                remedy: "try again once a majority is back; see `holdfast status`")
        }
        return (index, attributes)
    }

    /// A view that knows at least this entry: a loop that a disk holds up shows what it published before.
    func view(notBefore index: LogIndex) async throws -> SupervisorView {
        let end = MachineClock.now + .seconds(2)
        while true {
            let view = try await self.view()
            if view.supervisor.state.appliedIndex >= index { return view }
            guard MachineClock.now < end else {
                throw APIFailure(.noQuorum, "the daemon is held up by its disk", remedy: "see its log")
            }
            try await Task.sleep(nanoseconds: Span.milliseconds(20).nanoseconds)
        }
    }

    private func report(
        _ attributes: Attributes, of scope: AttributeScope?, named name: String?, _ state: ClusterState,
        at index: LogIndex, ageSeconds: Double? = nil
    ) -> AttributesReport {
        // One of very many is not looked for among all.
        let found =
            if let scope, let name {
                attributes[AttributeKey(scope, name)].map { [$0] } ?? []
            } else {
                attributes.records.filter { scope == nil || $0.key.scope == scope }
            }
        return AttributesReport(
            servedBy: self.file.name, index: index.rawValue, consistent: ageSeconds == nil, ageSeconds: ageSeconds,
            attributes: found.map { self.report($0, state) })
    }

    private func report(_ attribute: Attribute, _ state: ClusterState) -> AttributeReport {
        AttributeReport(
            scope: self.word(for: attribute.key.scope, state), name: attribute.key.name, value: attribute.value,
            version: attribute.version.rawValue, lifetime: attribute.lifetime == .forever ? "forever" : "boot")
    }

    // MARK: Changing

    func attributePut(_ scope: String, _ name: String, _ request: AttributeRequest) async throws -> MutationResult {
        let state = try await self.view().supervisor.state
        let key = try self.key(scope, name, state)
        guard let value = request.value else {
            throw APIFailure(
                .usage, "the value is missing", remedy: "write `holdfast attribute put NAME VALUE`")
        }
        if let problem = Attribute.problem(ofValue: value) {
            throw APIFailure(
                .usage, problem, remedy: "keep what is larger on a volume, and only its place in an attribute")
        }
        return try await self.change(
            .putAttribute(
                key, value: value, lifetime: try self.lifetime(request, key, state),
                expecting: try self.expectation(request)), of: key, "\(scope) has attribute \(name)")
    }

    func attributeDelete(
        _ scope: String, _ name: String, _ request: AttributeRequest
    ) async throws -> MutationResult {
        let key = try self.key(scope, name, try await self.view().supervisor.state)
        return try await self.change(
            .deleteAttribute(key, expecting: try self.expectation(request)), of: key,
            "\(scope) has no attribute \(name) any more")
    }

    private func change(
        _ command: Command, of key: AttributeKey, _ sentence: String
    ) async throws -> MutationResult {
        let refusal: Refusal
        let at: LogIndex
        switch await self.ask(.propose(command)) {
        case .applied(.accepted, let index):
            return MutationResult(accepted: true, index: index.rawValue, sentence: sentence)
        case .applied(.refused(let reason), let index): (refusal, at) = (reason, index)
        default: throw Self.undecided
        }
        let state = try await self.view(notBefore: at).supervisor.state
        let (name, scope) = (key.name, self.word(for: key.scope, state))
        switch refusal {
        case .differs(_, let present):
            throw APIFailure(
                .conflict,
                "attribute \(name) of \(scope) is not what was expected: "
                    + (present.map { "its version is \($0.version)" } ?? "there is none"),
                remedy: "look at it with `holdfast attribute get`, then try again",
                present: present.map { self.report($0, state) })
        case .unknown(.attribute):
            throw APIFailure(
                .notFound, "\(scope) has no attribute \(name)", remedy: "see `holdfast attribute list`")
        default: throw Self.failure(refusal)
        }
    }

    // MARK: Words

    private func key(_ scope: String, _ name: String, _ state: ClusterState) throws -> AttributeKey {
        let key = AttributeKey(try self.scope(scope, state), name)
        guard let problem = key.problem else { return key }
        throw APIFailure(.usage, problem, remedy: "choose another name, such as `app.primary`")
    }

    private func scope(_ word: String, _ state: ClusterState) throws -> AttributeScope {
        if word == "cluster" { return .cluster }
        guard word.hasPrefix("node:") else {
            throw APIFailure(
                .usage, "an attribute is of `cluster` or of `node:NAME`, not of `\(ForeignText.line(word))`",
                remedy: "name a node with --node")
        }
        return .node(try self.node(String(word.dropFirst("node:".count)), state).id)
    }

    private func word(for scope: AttributeScope, _ state: ClusterState) -> String {
        switch scope {
        case .cluster: "cluster"
        case .node(let node): "node:\(state.name(of: node))"
        }
    }

    private func lifetime(
        _ request: AttributeRequest, _ key: AttributeKey, _ state: ClusterState
    ) throws -> AttributeLifetime {
        switch request.lifetime ?? "forever" {
        case "forever": return .forever
        case "boot":
            guard case .node(let node) = key.scope else {
                throw APIFailure(
                    .usage, "only an attribute of a node can end with a boot", remedy: "name the node with --node")
            }
            // Which life is meant stands in the command: a later one does not inherit what was said of this one.
            return .boot(state.node(node)?.incarnation ?? .none)
        default:
            throw APIFailure(.usage, "a lifetime is `forever` or `boot`", remedy: "leave it out for `forever`")
        }
    }

    private func expectation(_ request: AttributeRequest) throws -> AttributeExpectation? {
        let all: [AttributeExpectation?] = [
            request.ifAbsent == true ? .absent : nil, request.ifValue.map { .value($0) },
            request.ifVersion.map { .version(LogIndex($0)) },
        ]
        let wanted = all.compactMap { $0 }
        guard wanted.count <= 1 else {
            throw APIFailure(
                .usage, "at most one of ifAbsent, ifValue and ifVersion can be expected",
                remedy: "ifVersion alone says the most")
        }
        return wanted.first
    }
}
