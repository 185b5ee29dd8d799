import Basis
import Resources

/// What the machines must be asked about a configuration, and what their answers mean for it.
public struct ConfigurationInspection {
    /// A mistake that only a machine could find.
    public struct Finding: Equatable, Sendable {
        /// The key path of what is wrong.
        public var path: String
        /// Why, with the names of the nodes.
        public var reason: String
        /// What to do.
        public var remedy: String
        /// What is wrong was so before: it is said, and refuses nothing.
        public var isOld: Bool
    }

    /// What every agent that stands on the common shell functions takes, though it does not say so.
    private static let common = ["trace_ra", "trace_file"]

    private struct Subject {
        var group: GroupPolicy
        var resource: ResourcePolicy
        var isOld: Bool
        var path: String { "groups.\(self.group.name).resources[\(self.resource.name)]" }
    }

    private let policy: ClusterPolicy
    private let subjects: [Subject]

    /// `old` is the policy in force: what it has already is not refused for what a machine lacks.
    public init(_ policy: ClusterPolicy, old: ClusterPolicy) {
        self.policy = policy
        self.subjects = policy.groups.flatMap { group in
            let before = old.group(group.name)
            return group.resources.map { resource in
                let isOld =
                    before?.nodes == group.nodes && before?.resources.contains { $0.runsTheSame(as: resource) } == true
                return Subject(group: group, resource: resource, isOld: isOld)
            }
        }
    }

    /// What each node must be asked, in the order of names; nothing for a node that runs only what is known.
    public var questions: [(node: String, questions: [InspectionQuestion])] {
        var found: [String: [InspectionQuestion]] = [:]
        for subject in self.subjects {
            let asked = Self.questions(about: subject.resource)
            for node in subject.group.nodes {
                for question in asked where found[node]?.contains(question) != true {
                    found[node, default: []].append(question)
                }
            }
        }
        return found.keys.sorted().map { ($0, found[$0] ?? []) }
    }

    private static func questions(about resource: ResourcePolicy) -> [InspectionQuestion] {
        var found: [InspectionQuestion] = []
        switch resource.kind {
        case .exec: if let user = resource.parameter("user") { found.append(.user(user)) }
        case .address: if let name = resource.parameter("interface") { found.append(.interface(name)) }
        case .filesystem: if let type = resource.parameter("type") { found.append(.filesystem(type)) }
        case .volume: break
        case .ocf, .unknown: found.append(.agent(resource.agent))
        }
        return found + resource.parameters.filter(\.isFile).map { .file($0.value) }
    }

    // MARK: What the answers mean

    /// What is wrong, in the order of the document. `answers` has those nodes that answered.
    public func findings(_ answers: [String: [InspectionQuestion: InspectionAnswer]]) -> [Finding] {
        self.subjects.flatMap { subject -> [Finding] in
            let resource = subject.resource
            switch resource.kind {
            case .exec:
                return self.missing(
                    resource.parameter("user").map { .user($0) }, "user", "create it there", subject, answers)
            case .address:
                return self.missing(
                    resource.parameter("interface").map { .interface($0) }, "interface",
                    "correct the name, or leave `interface` out to let the node choose", subject, answers)
            case .filesystem:
                return self.missing(
                    resource.parameter("type").map { .filesystem($0) }, "type",
                    "install its tools and modules there, or correct the type", subject, answers)
            case .volume: return []
            case .ocf, .unknown: return self.agent(subject, answers)
            }
        } + self.subjects.flatMap { self.files($0, answers) }
    }

    private func missing(
        _ question: InspectionQuestion?, _ key: String, _ remedy: String, _ subject: Subject,
        _ answers: [String: [InspectionQuestion: InspectionAnswer]]
    ) -> [Finding] {
        guard let question, let value = subject.resource.parameter(key) else { return [] }
        let lacking = subject.group.nodes.filter {
            if case .no? = answers[$0]?[question] { return true }
            return false
        }
        guard !lacking.isEmpty else { return [] }
        // An earlier resource of the group may make it.
        let comesLater =
            key == "interface"
            && subject.group.resources.prefix { $0.name != subject.resource.name }
                .contains { $0.kind.isOCF }
        let word = key == "type" ? "file system" : key
        return [
            Finding(
                path: "\(subject.path).\(key)", reason: "there is no \(word) `\(value)` on \(Suggestion.list(lacking))",
                remedy: remedy, isOld: subject.isOld || comesLater)
        ]
    }

    /// A file may lie in a file system that only the group mounts.
    private func files(
        _ subject: Subject, _ answers: [String: [InspectionQuestion: InspectionAnswer]]
    ) -> [Finding] {
        subject.resource.parameters.filter(\.isFile).compactMap { parameter in
            let lacking = subject.group.nodes.compactMap { node -> String? in
                guard case .no(let reason)? = answers[node]?[.file(parameter.value)] else { return nil }
                return "\(node) (\(reason))"
            }
            guard !lacking.isEmpty else { return nil }
            return Finding(
                path: "\(subject.path).\(parameter.key)",
                reason: "\(parameter.value) cannot be read now on \(Suggestion.list(lacking))",
                remedy: "put it there before the group starts, readable by root alone", isOld: true)
        }
    }

    private func agent(
        _ subject: Subject, _ answers: [String: [InspectionQuestion: InspectionAnswer]]
    ) -> [Finding] {
        let resource = subject.resource
        var found: [Finding] = []
        func add(_ path: String, _ reason: String, _ remedy: String) {
            found.append(Finding(path: path, reason: reason, remedy: remedy, isOld: subject.isOld))
        }
        let lacking = subject.group.nodes.filter {
            if case .no? = answers[$0]?[.agent(resource.agent)] { return true }
            return false
        }
        if !lacking.isEmpty {
            add(
                "\(subject.path).agent", "there is no agent `\(resource.agent)` on \(Suggestion.list(lacking))",
                "install the package that has it, such as resource-agents, or correct the name")
        }
        guard let (node, metadata) = self.metadata(of: resource.agent, subject.group.nodes, answers),
            !metadata.parameters.isEmpty
        else { return found }
        let known = metadata.parameters.map(\.name)
        for parameter in resource.parameters
        where !known.contains(parameter.key) && !(ConfigurationKeys.ocf + Self.common).contains(parameter.key) {
            add(
                "\(subject.path).\(parameter.key)",
                "`\(resource.agent)` on \(node) has no parameter `\(parameter.key)`",
                Suggestion.nearest(to: parameter.key, among: known).map { "did you mean `\($0)`?" }
                    ?? "`holdfast agent describe \(resource.agent)` lists what it has")
        }
        for needed in metadata.parameters
        where needed.isRequired && (needed.standard ?? "").isEmpty && resource.parameter(needed.name) == nil {
            let say = needed.summary.isEmpty ? "" : " (\(needed.summary))"
            let taken = ConfigurationKeys.resource.contains(needed.name)
            add(
                subject.path, "`\(resource.agent)` needs `\(needed.name)`\(say)",
                taken ? "add `parameters: { \(needed.name): VALUE }`" : "add `\(needed.name): VALUE`")
        }
        return found
    }

    /// What an agent says of itself, on the first node of the list that answered.
    private func metadata(
        of agent: String, _ nodes: [String], _ answers: [String: [InspectionQuestion: InspectionAnswer]]
    ) -> (node: String, AgentMetadata)? {
        for node in nodes {
            if case .agent(let metadata)? = answers[node]?[.agent(agent)] { return (node, metadata) }
        }
        return nil
    }

    // MARK: Recommended times

    /// The policy with the times that agents recommend, where the document gives none (`unset` has their paths) and what they
    /// recommend is longer. What no node could say stays as it is in `old`.
    public func withRecommendedTimes(
        unset: Set<String>, old: ClusterPolicy, _ answers: [String: [InspectionQuestion: InspectionAnswer]]
    ) -> ClusterPolicy {
        var policy = self.policy
        for group in policy.groups.indices {
            for place in policy.groups[group].resources.indices {
                let resource = policy.groups[group].resources[place]
                guard resource.kind.isOCF else { continue }
                let path = "groups.\(policy.groups[group].name).resources[\(resource.name)]"
                let said = self.metadata(of: resource.agent, policy.groups[group].nodes, answers)?.1
                let before = old.group(policy.groups[group].name)?.resources.first {
                    $0.name == resource.name && $0.agent == resource.agent
                }
                func set(_ key: String, _ time: WritableKeyPath<ResourcePolicy, Span>, _ action: String) {
                    guard unset.contains("\(path).\(key)") else { return }
                    let wanted = said.map { $0.timeout(of: action) ?? .zero } ?? before?[keyPath: time] ?? .zero
                    policy.groups[group].resources[place][keyPath: time] = max(resource[keyPath: time], wanted)
                }
                set("startTimeout", \.startTimeout, "start")
                set("stopTimeout", \.stopTimeout, "stop")
                set("checkTimeout", \.monitorTimeout, "monitor")
            }
        }
        return policy
    }
}
