import Basis
import Resources

/// Groups and their resources.
extension ConfigurationReading {
    mutating func readGroup(_ entry: DocumentTree.Entry) -> GroupPolicy {
        let path = "groups.\(entry.key)"
        self.checkName(entry.key, entry.place, path: path)
        var group = GroupPolicy(name: GroupName(entry.key), nodes: [], resources: [])
        let known = ConfigurationKeys.group
        let example = "\(entry.key): { nodes: [a, b], resources: [...] }"
        guard let fields = self.fields(entry.value, path: path, known: known, example: example) else { return group }
        self.note(path, entry.place)
        group.nodes = self.readNodes(fields)
        if let word = self.word(fields, "takeover", among: Takeover.allCases.map(\.rawValue)),
            let takeover = Takeover(rawValue: word)
        {
            group.takeover = takeover
        }
        group.failback = self.truth(fields, "failback") ?? group.failback
        if let tree = fields.value("restart"),
            let restart = self.fields(
                tree, path: fields.path("restart"), known: ConfigurationKeys.restart,
                example: "restart: { attempts: 3, window: 10m }")
        {
            group.restartAttempts =
                self.number(restart, "attempts", in: 0...1000, example: 3) ?? group.restartAttempts
            group.restartWindow = self.span(restart, "window", example: "10m") ?? group.restartWindow
        }
        if let tree = fields.value("moves"),
            let moves = self.fields(
                tree, path: fields.path("moves"), known: ConfigurationKeys.moves,
                example: "moves: { maximum: 6, window: 1h }")
        {
            group.maximumMoves = self.number(moves, "maximum", in: 0...1000, example: 6) ?? group.maximumMoves
            if group.maximumMoves == 0 {
                self.problem(
                    at: moves.path("maximum"), "the group never fails over: it is parked when its node dies",
                    "write at least 1, or leave it if that is what you want", severity: .warning)
            }
            group.moveWindow = self.span(moves, "window", example: "1h") ?? group.moveWindow
        }
        group.undeadWait = self.span(fields, "undeadWait", example: "60s", zero: true) ?? group.undeadWait
        group.resources = self.readResources(fields)
        return group
    }

    private mutating func readNodes(_ fields: Fields) -> [String] {
        let path = fields.path("nodes")
        guard let tree = fields.value("nodes") else {
            self.missing(fields, "nodes", example: "[MOST-PREFERRED, NEXT]")
            return []
        }
        self.note(path, tree.place)
        guard case .sequence(let items, _) = tree else {
            self.problem(at: path, "expected a list, not \(tree.kind)", "write it like `nodes: [tok-1, osk-1]`")
            return []
        }
        if items.isEmpty { self.problem(at: path, "no node may run this group", "name at least one node") }
        var nodes: [String] = []
        for (offset, item) in items.enumerated() {
            let itemPath = "\(path)[\(offset)]"
            guard let name = self.text(item, path: itemPath, example: "nodes: [tok-1, osk-1]"),
                self.checkName(name, item.place, path: itemPath)
            else { continue }
            if nodes.contains(name) {
                self.problem(at: itemPath, "`\(name)` is already in the list", "name each node once")
                continue
            }
            nodes.append(name)
            self.note("\(path)[\(name)]", item.place)
        }
        return nodes
    }

    private mutating func readResources(_ fields: Fields) -> [ResourcePolicy] {
        let path = fields.path("resources")
        let example = "resources: [{ name: web, agent: exec, command: /usr/bin/web }]"
        guard let tree = fields.value("resources") else {
            self.missing(fields, "resources", example: "[{ name: web, agent: exec, command: /usr/bin/web }]")
            return []
        }
        self.note(path, tree.place)
        guard case .sequence(let items, _) = tree else {
            self.problem(at: path, "expected a list, not \(tree.kind)", "write it like `\(example)`")
            return []
        }
        if items.isEmpty {
            self.problem(
                at: path, "the group has no resource, so there is nothing to run", "write it like `\(example)`")
        }
        var resources: [ResourcePolicy] = []
        for (offset, item) in items.enumerated() {
            guard let resource = self.readResource(item, offset: offset, listPath: path) else { continue }
            if resources.contains(where: { $0.name == resource.name }) {
                self.problem(
                    item.place, "\(path)[\(resource.name)]", "the name is already taken in this group",
                    "give each resource its own name")
                continue
            }
            resources.append(resource)
        }
        return resources
    }

    /// `resources[NAME]` when the resource has a name, else `resources[OFFSET]`.
    private func resourcePath(_ tree: DocumentTree, offset: Int, listPath: String) -> String {
        guard case .mapping(let entries, _) = tree,
            case .scalar(let name, false, _, _)? = entries.first(where: { $0.key == "name" })?.value,
            NameSyntax.isValid(name)
        else { return "\(listPath)[\(offset)]" }
        return "\(listPath)[\(name)]"
    }

    private mutating func readResource(_ tree: DocumentTree, offset: Int, listPath: String) -> ResourcePolicy? {
        let path = self.resourcePath(tree, offset: offset, listPath: listPath)
        let alreadyThere = self.places[path] != nil
        let example = "{ name: web, agent: exec, command: /usr/bin/web }"
        if alreadyThere {
            // The caller reports the second one of this name; its keys must not hide the places of the first.
            guard let name = path.split(separator: "[").last?.dropLast() else { return nil }
            return ResourcePolicy(name: ResourceName(String(name)), agent: "")
        }
        guard let fields = self.fields(tree, path: path, known: nil, example: example) else { return nil }
        let name = self.requiredText(fields, "name", example: "web") ?? ""
        if !name.isEmpty { self.checkName(name, self.place("\(path).name"), path: "\(path).name") }
        var resource = ResourcePolicy(name: ResourceName(name.isEmpty ? "unnamed-\(offset)" : name), agent: "")
        resource.startTimeout = self.span(fields, "startTimeout", example: "60s") ?? resource.startTimeout
        resource.stopTimeout = self.span(fields, "stopTimeout", example: "60s") ?? resource.stopTimeout
        resource.monitorInterval =
            self.span(fields, "checkInterval", example: "5s", zero: true) ?? resource.monitorInterval
        resource.monitorTimeout = self.span(fields, "checkTimeout", example: "20s") ?? resource.monitorTimeout
        for key in ["startTimeout", "stopTimeout", "checkTimeout"] where fields.value(key) == nil {
            self.unsetTimes.insert(fields.path(key))
        }
        if fields.value("agent") == nil, let misspelt = self.misspelt("agent", in: fields) {
            // The one mistake; that `agent` is missing follows from it.
            self.problem(misspelt.place, fields.path(misspelt.key), "there is no such key", "did you mean `agent`?")
            return resource
        }
        guard let agent = self.requiredText(fields, "agent", example: "exec") else { return resource }
        resource.agent = agent
        resource.isDeclaredKillable = self.readKillable(fields, agent: agent)
        if fields.value("killable") == nil, !resource.isKillable { self.warnOfKill(agent, at: fields.path("agent")) }
        resource.parameters = self.readParameters(fields, agent: agent)
        return resource
    }

    /// What is promised for such an agent is less, and the operator is to know it. (docs/guarantees.md)
    private mutating func warnOfKill(_ agent: String, at path: String) {
        let parts = agent.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, !agent.contains("/") else { return }
        self.problem(
            at: path,
            "a kill does not end what `\(agent)` may keep outside of its processes: after a lease has ended it may be "
                + "active there until the agent's stop has succeeded, and a stop that fails holds the group up",
            "write `killable: true` if it is nothing but processes, `killable: false` if you know", severity: .warning)
    }

    /// Only an OCF agent can keep what a kill does not end. (Rule L11)
    private mutating func readKillable(_ fields: Fields, agent: String) -> Bool {
        guard fields.value("killable") != nil, let isKillable = self.truth(fields, "killable") else { return false }
        guard agent.hasPrefix("ocf:") else {
            self.problem(
                at: fields.path("killable"), "a kill always ends a resource of the agent `\(agent)`", "remove the key")
            return false
        }
        return isKillable
    }

    /// The key that was probably meant to be `key`.
    private func misspelt(_ key: String, in fields: Fields) -> DocumentTree.Entry? {
        fields.entries.first {
            !ConfigurationKeys.resource.contains($0.key) && Suggestion.nearest(to: $0.key, among: [key]) == key
        }
    }
}
