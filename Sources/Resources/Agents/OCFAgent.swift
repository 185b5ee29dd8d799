import Basis
import CLinux
import Glibc
import Host
import Resources

/// Runs a stock OCF agent as it is: `ocf:PROVIDER:TYPE` is OCF_ROOT/resource.d/PROVIDER/TYPE. (OCF API 1.1)
struct OCFAgent: ResourceAgent {
    let provider: String
    let type: String

    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        try self.noteHoldings(context)
        let outcome = try self.outcome(of: "start", interval: nil, place: .callKeepingChildren, context)
        if outcome == .success, var record = context.records.started(context.call.group, context.call.resource.name) {
            record.hasStarted = true
            do { try context.records.write(record) } catch { throw .soft(error) }
        }
        return outcome
    }

    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let outcome = try self.outcome(of: "stop", interval: nil, place: .callKeepingChildren, context)
        guard outcome == .success else { return outcome }
        let clock = context.environment.clock
        // The agent says that it is stopped; what its stop left behind has a moment to follow.
        if !context.cgroup.waitUntilEmpty(until: min(context.deadline, clock() + .milliseconds(500)), clock: clock) {
            context.log(
                "\(self.type) says stopped, but leaves processes, which are killed: \(context.cgroup.processes())")
            guard context.cgroup.killAll(until: max(context.deadline, clock() + .seconds(1)), clock: clock) else {
                throw .hard("processes do not die, not even by SIGKILL: \(context.cgroup.processes())")
            }
        }
        let name = context.call.resource.name
        if let holding = context.records.holding(.addresses, context.call.group, name), holding.words.count >= 2,
            let address = InterfaceAddress(holding.words[0], bare: true), !address.drop(from: holding.words[1])
        {
            throw .hard("\(self.type) says stopped, but the address \(holding.words[0]) is still here")
        }
        for kind in RunRecords.Kind.allCases { context.records.remove(kind, context.call.group, name) }
        context.records.removeStarted(context.call.group, name)
        context.cgroup.remove()
        return .success
    }

    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        try self.outcome(
            of: "monitor", interval: context.call.resource.monitorInterval, place: .callKeepingChildren, context)
    }

    func probe(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        guard Files.exists(self.path(context)) else { return .notRunning }
        return try self.outcome(of: "monitor", interval: .zero, place: .call, context)
    }

    private func path(_ context: CallContext) -> String {
        "\(context.environment.ocfRoot)/resource.d/\(self.provider)/\(self.type)"
    }

    private func outcome(
        of action: String, interval: Span?, place: CallContext.Place, _ context: CallContext
    ) throws(CallInterruption) -> AgentOutcome {
        let path = self.path(context)
        let started = context.records.started(context.call.group, context.call.resource.name)
        guard access(path, X_OK) == 0 else {
            // What was never asked to start needs no agent to be stopped. What was cannot be stopped without it.
            if action == "stop", errno == ENOENT, started == nil { return .success }
            throw .hard(
                "there is no agent \(path): install the package that has it (resource-agents), or correct `agent`")
        }
        do {
            try Files.makeDirectory("/run/resource-agents")
            // From here on only its stop, or a kill that surely ends it, makes it certain that nothing of it is here.
            if action == "start" {
                var record = StartedRecord(context.call, at: context.environment.clock())
                record.hasStarted = started?.hasStarted ?? false
                try context.records.write(record)
            }
        } catch {
            throw .soft("\(error)")
        }
        // What is started writes into the log for as long as it lives, and so does its agent. A check says nothing worth
        // keeping while it passes.
        let isCheck = action == "monitor"
        if !isCheck { context.logs.start() }
        let result = try context.run(
            [path, action], environment: self.environment(action, interval: interval, context), place: place,
            log: isCheck ? nil : context.ownLog)
        if isCheck, interval != .zero, !result.succeeded { context.ownLog.append(result.output + result.errors) }
        // A probe asks what runs, and a node without the software runs nothing.
        if interval == .zero, result.end == .exited(5) { return .notRunning }
        if action == "stop", result.end == .exited(5), started?.hasStarted != true { return .success }
        return self.classify(result, action: action, recurring: interval.map { $0 > .zero } ?? false)
    }

    /// The recovery classes as Pacemaker's code has them, not as its table prints them, but for 6.
    private func classify(_ result: CommandResult, action: String, recurring: Bool) -> AgentOutcome {
        let prefix = "ocf-exit-reason:"
        let said = ForeignText.lines(result.errors).last { $0.hasPrefix(prefix) }.map {
            ForeignText.line($0.dropFirst(prefix.count))
        }
        guard case .exited(let code) = result.end else {
            return .failed(reason: "\(self.type) \(action) \(result.end)", recovery: .soft)
        }
        // Without a reason of the agent's own, its last lines: the cause is seldom in the very last one.
        let last = ForeignText.lastLines(result.output + "\n" + result.errors, count: 3)
        let reason = "\(self.type) \(action): " + (said ?? "\(Self.meaning(code)) (\(last ?? result.reason))")
        switch code {
        case 0: return .success
        case 7:
            if action == "stop" { return .success }
            return action == "monitor" ? .notRunning : .failed(reason: reason, recovery: .soft)
        case 8: return action == "monitor" ? .success : .failed(reason: reason, recovery: .soft)
        // Running, if badly: the opposite of stopped.
        case 190, 191: return action == "stop" ? .failed(reason: reason, recovery: .soft) : .degraded(reason: reason)
        // 6 says that no node could do better, but agents also say it of what differs from node to node, such as the name
        // of an interface: another node is asked before the group is given up.
        case 2, 4, 5, 6: return .failed(reason: reason, recovery: .hard)
        case 3: return recurring ? .success : .failed(reason: reason, recovery: .hard)
        default: return .failed(reason: reason, recovery: .soft)
        }
    }

    private static func meaning(_ code: Int32) -> String {
        switch code {
        case 1: "it failed"
        case 2: "a parameter is wrong for this node"
        case 3: "the agent does not know this action"
        case 4: "a permission is missing"
        case 5: "its software is not installed on this node"
        case 6: "its configuration is wrong"
        case 7: "it is not running"
        case 8: "it is running promoted"
        case 9: "it failed while promoted"
        default: "exit code \(code)"
        }
    }

    /// What the agent calls the resource. Agents name files, sockets and containers after it, so it is unique in the
    /// cluster, and must never change. (OCF API 1.1) No name holds a `_`, so no two pairs of names are written alike.
    static func instance(_ group: GroupName, _ resource: ResourceName) -> String { "\(group)_\(resource)" }

    private func environment(_ action: String, interval: Span?, _ context: CallContext) -> [String: String] {
        let resource = context.call.resource
        var variables = CallContext.toolEnvironment
        for parameter in resource.parameters where parameter.key != "checkLevel" {
            variables["OCF_RESKEY_\(parameter.key)"] = parameter.value
        }
        variables["OCF_ROOT"] = context.environment.ocfRoot
        variables["OCF_RA_VERSION_MAJOR"] = "1"
        variables["OCF_RA_VERSION_MINOR"] = "1"
        variables["OCF_RESOURCE_INSTANCE"] = Self.instance(context.call.group, resource.name)
        variables["OCF_RESOURCE_TYPE"] = self.type
        variables["OCF_RESOURCE_PROVIDER"] = self.provider
        variables["OCF_EXIT_REASON_PREFIX"] = "ocf-exit-reason:"
        variables["OCF_OUTPUT_FORMAT"] = "text"
        if action == "monitor" { variables["OCF_CHECK_LEVEL"] = context.parameter("checkLevel") ?? "0" }
        variables["OCF_RESKEY_crm_feature_set"] = "3.19.7"
        variables["OCF_RESKEY_CRM_meta_timeout"] = String(context.call.timeout.milliseconds)
        variables["OCF_RESKEY_CRM_meta_name"] = action
        variables["OCF_RESKEY_CRM_meta_on_node"] = context.environment.nodeName
        variables["OCF_RESKEY_CRM_meta_on_node_uuid"] = context.environment.nodeName
        if let interval { variables["OCF_RESKEY_CRM_meta_interval"] = String(interval.milliseconds) }
        variables["HA_RSCTMP"] = "/run/resource-agents"
        variables["HA_LOGFACILITY"] = "none"
        variables["PCMK_logfacility"] = "none"
        variables["HA_debug"] = "0"
        variables["HA_use_logd"] = "no"
        variables["HOLDFAST_EPOCH"] = context.call.epoch.description
        variables["HOLDFAST_GROUP"] = context.call.group.rawValue
        variables["HOLDFAST_RESOURCE"] = resource.name.rawValue
        variables["HOLDFAST_NODE"] = context.environment.nodeName
        return variables
    }

    /// Addresses and mounts that the agent will make, so that the guard can take them down without it. (Rule L12)
    private func noteHoldings(_ context: CallContext) throws(CallInterruption) {
        let holding = { (words: [String]) in
            RunRecords.Holding(
                group: context.call.group.rawValue, resource: context.call.resource.name.rawValue, words: words)
        }
        do {
            if ["IPaddr2", "IPaddr", "IPv6addr"].contains(self.type),
                let text = context.parameter("ip") ?? context.parameter("ipv6addr"),
                let address = InterfaceAddress(text, bare: true)
            {
                let cidr = text.contains("/") ? text : "\(text)/\(address.prefix)"
                // A label of the interface, `eth0:1`, is part of the parameter, not of the interface's name.
                let interface = context.parameter("nic").flatMap { $0.split(separator: ":").first.map(String.init) }
                try context.records.write(.addresses, holding([cidr, interface ?? "*"]))
            }
            if self.type == "Filesystem", let directory = context.parameter("directory") {
                try context.records.write(
                    .mounts, holding([MountTable.canonical(directory), context.parameter("device") ?? "-"]))
            }
        } catch {
            throw .soft("\(error)")
        }
    }
}
