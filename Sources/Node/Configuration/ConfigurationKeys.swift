/// Every key that a document may have. The reader knows no other, and `docs/configuration-changes.md` has a row for each.
enum ConfigurationKeys {
    static let document = ["cluster", "leaderSites", "timing", "volumes", "groups"]
    static let timing = ["lease", "grace", "renewal", "detection", "clockRateErrorPpm", "guardKill", "daemonRestart"]
    static let volume = ["size", "replicas", "resyncRate"]
    static let replica = ["backing", "address"]
    static let group = ["nodes", "takeover", "failback", "restart", "moves", "undeadWait", "resources"]
    static let restart = ["attempts", "window"]
    static let moves = ["maximum", "window"]
    /// Keys of a resource that are not parameters of its agent.
    static let resource = Self.anyResource + ["killable"]
    /// Those that a resource of any agent may have.
    static let anyResource = ["name", "agent", "startTimeout", "stopTimeout", "checkInterval", "checkTimeout"]
    /// What the built-in agents may be told.
    static let parameters: [(agent: String, keys: [String])] = [
        ("exec", ["command", "stop", "check", "user", "directory", "environment"]),
        ("address", ["address", "interface"]),
        ("filesystem", ["volume", "device", "mount", "type", "options", "format"]),
        ("volume", ["volume"]),
    ]
    /// What an OCF resource may be told beside the parameters of its agent.
    static let ocf = ["checkLevel"]
    static let agents = Self.parameters.map(\.agent)

    static func parameters(of agent: String) -> [String]? { Self.parameters.first { $0.agent == agent }?.keys }

    /// The path of every key, with NAME and NODE for what the user names and AGENT for the agents' own parameters.
    static var paths: [String] {
        var paths = Self.document + Self.timing.map { "timing.\($0)" }
        paths += ["volumes.NAME"] + Self.volume.map { "volumes.NAME.\($0)" }
        paths += ["volumes.NAME.replicas.NODE"] + Self.replica.map { "volumes.NAME.replicas.NODE.\($0)" }
        paths += ["groups.NAME"] + Self.group.map { "groups.NAME.\($0)" }
        paths += Self.restart.map { "groups.NAME.restart.\($0)" } + Self.moves.map { "groups.NAME.moves.\($0)" }
        let resource = "groups.NAME.resources[NAME]"
        paths += [resource] + Self.resource.map { "\(resource).\($0)" }
        for (agent, keys) in Self.parameters { paths += keys.map { "\(resource).\($0) (\(agent))" } }
        return paths + (Self.ocf + ["PARAMETER", "parameters"]).map { "\(resource).\($0) (ocf)" }
    }
}
