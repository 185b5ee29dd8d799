import Basis
import FoundationEssentials
import Glibc
import Host
import Resources

/// A resource of an OCF agent that was asked to start and has not been stopped since: what of it outlives a kill ends only
/// by its `stop`, so a later daemon must know all that the `stop` needs. (Rules L11, L12)
struct StartedRecord: Equatable, Sendable, Codable {
    struct Parameter: Equatable, Sendable, Codable {
        var key: String
        var value: String
    }
    var group: String
    var resource: String
    var agent: String
    var parameters: [Parameter]
    var isDeclaredKillable: Bool
    var stopTimeoutNanoseconds: UInt64
    var generation: UInt32
    var index: UInt64
    /// Its agent said once that it is up.
    var hasStarted = false
    /// The boot clock at its start: what was started last is stopped first.
    var startedAtNanoseconds: UInt64

    /// What is to be recorded about the call that starts it.
    init(_ call: AgentCall, at now: Tick) {
        self.group = call.group.rawValue
        self.resource = call.resource.name.rawValue
        self.agent = call.resource.agent
        self.parameters = call.resource.parameters.map { Parameter(key: $0.key, value: $0.value) }
        self.isDeclaredKillable = call.resource.isDeclaredKillable
        self.stopTimeoutNanoseconds = call.resource.stopTimeout.nanoseconds
        self.generation = call.epoch.generation
        self.index = call.epoch.index
        self.startedAtNanoseconds = now.nanoseconds
    }

    /// The resource as it was started.
    var policy: ResourcePolicy {
        var policy = ResourcePolicy(
            name: ResourceName(self.resource), agent: self.agent,
            parameters: self.parameters.map { ResourcePolicy.Parameter($0.key, $0.value) },
            stopTimeout: Span(nanoseconds: self.stopTimeoutNanoseconds))
        policy.isDeclaredKillable = self.isDeclaredKillable
        return policy
    }

    var epoch: Epoch { Epoch(generation: self.generation, index: self.index) }
}

/// A record of the run directory that cannot be read. Whose it is says its name.
struct UnreadableRecord: Equatable, Sendable {
    let path: String
    let group: GroupName
    let resource: ResourceName

    init?(path: String) {
        let words = (path.split(separator: "/").last ?? "").split(separator: ".")
        guard words.count >= 2 else { return nil }
        self.path = path
        self.group = GroupName(Files.named(String(words[0])))
        self.resource = ResourceName(Files.named(String(words[1])))
    }

    var reason: String { "its record \(self.path) cannot be read, so nobody knows what is to be stopped" }
}

extension RunRecords {
    private var startedDirectory: String { self.directory + "/started" }

    private func startedPath(_ group: GroupName, _ resource: ResourceName) -> String {
        "\(self.startedDirectory)/\(Self.stem(group, resource)).json"
    }

    /// Written before the agent is asked to start.
    func write(_ record: StartedRecord) throws(AgentError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let path = self.startedPath(GroupName(record.group), ResourceName(record.resource))
        guard let data = try? encoder.encode(record) else { throw .file(path: path, action: "encode", code: EINVAL) }
        try Files.replace(path, String(decoding: data, as: UTF8.self) + "\n")
    }

    func started(_ group: GroupName, _ resource: ResourceName) -> StartedRecord? {
        self.decodeStarted(self.startedPath(group, resource))
    }

    /// Removed when its agent says that it is stopped, or a person does.
    func removeStarted(_ group: GroupName, _ resource: ResourceName) { unlink(self.startedPath(group, resource)) }

    /// What was started and not stopped, of one group when given; the latest first.
    func started(of group: GroupName? = nil) -> [StartedRecord] {
        self.startedPaths(of: group).compactMap(self.decodeStarted)
            .filter { group == nil || $0.group == group?.rawValue }
            .sorted { ($0.startedAtNanoseconds, $0.resource) > ($1.startedAtNanoseconds, $1.resource) }
    }

    /// Records that are there and say nothing: what they are about may still be active, and nobody knows how it is stopped. Of
    /// one group when given; sorted. (Rule L11.5)
    func unreadable(of group: GroupName? = nil) -> [UnreadableRecord] {
        let started = self.startedPaths(of: group).filter { self.decodeStarted($0) == nil }
        let held = Kind.allCases.flatMap { self.unreadableHoldings($0, of: group) }
        // Whoever ended it in the meantime took the record away.
        return (started + held).filter(Files.exists).compactMap(UnreadableRecord.init)
            .filter { group == nil || $0.group == group }.sorted { $0.path < $1.path }
    }

    private func startedPaths(of group: GroupName?) -> [String] {
        Files.list(self.startedDirectory, beginning: Self.beginning(group)).filter { $0.hasSuffix(".json") }
            .map { self.startedDirectory + "/" + $0 }
    }

    private func decodeStarted(_ path: String) -> StartedRecord? {
        guard let text = Files.text(path) else { return nil }
        return try? JSONDecoder().decode(StartedRecord.self, from: Data(text.utf8))
    }
}
