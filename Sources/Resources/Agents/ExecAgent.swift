import Basis
import CLinux
import Glibc
import Host
import Resources

/// Runs a command in the foreground, in its own cgroup, and is told at once when it ends.
struct ExecAgent: ResourceAgent {
    /// Without a check, a service that lives this long counts as started.
    private static let settling = Span.milliseconds(100)
    /// How long the rest of a service whose main process is gone may take to end by itself.
    private static let remnantPatience = Span.seconds(3)
    /// Left over from a stop's time for the kill.
    private static func killReserve(_ timeout: Span) -> Span { min(.seconds(2), timeout / 5) }

    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let command = try context.required("command")
        let check = context.parameter("check")
        let user = try self.user(context)
        if let outcome = try self.clearTheWay(context) { return outcome }
        let process = try self.launch(command, user: user, context)
        do {
            try self.awaitStarted(process, check: check, user: user, context)
        } catch {
            // Whatever the reason, a failed start leaves nothing behind.
            _ = context.cgroup.killAll(
                until: context.environment.clock() + .seconds(2), clock: context.environment.clock)
            context.watcher.abandon(process.descriptor)
            context.records.removeService(context.call.group, context.call.resource.name)
            throw error
        }
        context.watcher.watch(context.key, epoch: context.call.epoch, descriptor: process.descriptor)
        return .success
    }

    /// Kills what an earlier epoch or an interrupted start left; an outcome when there is nothing to start.
    private func clearTheWay(_ context: CallContext) throws(CallInterruption) -> AgentOutcome? {
        let populated: Bool
        do { populated = try context.cgroup.isPopulated() } catch { throw .soft(error) }
        guard populated else { return nil }
        let record = context.records.service(context.call.group, context.call.resource.name)
        if let record, record.epoch == context.call.epoch, record.identity.isAlive,
            context.watcher.isWatching(context.key)
        {
            return .success
        }
        context.log("kills what is left of an earlier start\(record.map { " (epoch \($0.epoch))" } ?? "")")
        context.watcher.expectEnd(context.key)
        guard context.cgroup.killAll(until: context.deadline, clock: context.environment.clock) else {
            throw .hard("processes of an earlier start do not die: \(context.cgroup.processes())")
        }
        return nil
    }

    private func launch(
        _ command: String, user: UserIdentity?, _ context: CallContext
    ) throws(CallInterruption) -> SpawnedProcess {
        do throws(AgentError) {
            try context.cgroup.create()
            context.logs.start()
            let descriptor = try context.ownLog.open()
            defer { close(descriptor) }
            let process = try context.spawner.start(
                SpawnRequest(
                    arguments: ["/bin/sh", "-c", Self.shellText(command)],
                    environment: self.environment(context, user: user), directory: context.parameter("directory"),
                    user: user, cgroup: context.cgroup, output: descriptor, error: descriptor))
            do throws(AgentError) {
                try context.records.write(
                    ServiceRecord(
                        group: context.call.group.rawValue, resource: context.call.resource.name.rawValue,
                        pid: process.pid, startTime: ProcessIdentity(pid: process.pid)?.startTime ?? 0,
                        generation: context.call.epoch.generation, index: context.call.epoch.index))
            } catch {
                // A service that no later daemon could adopt must not run.
                _ = context.cgroup.killAll(until: context.deadline, clock: context.environment.clock)
                context.watcher.abandon(process.descriptor)
                throw error
            }
            return process
        } catch {
            throw .soft(error)
        }
    }

    /// A plain command replaces the shell, so that signals and exit codes are its own.
    static func shellText(_ command: String) -> String {
        let first = command.split(whereSeparator: \.isWhitespace).first ?? ""
        let compound = command.contains { ";&|\n(){}".contains($0) } || first.contains("=")
        let builtin = ["cd", "exec", "export", "set", "ulimit", "umask", "if", "for", "while", "case", ".", "!"]
        return compound || builtin.contains(String(first)) ? command : "exec " + command
    }

    private func awaitStarted(
        _ process: SpawnedProcess, check: String?, user: UserIdentity?, _ context: CallContext
    ) throws(CallInterruption) {
        guard let check else {
            let until = context.environment.clock() + Self.settling
            if try context.wait(until: until, for: process.descriptor) { throw self.early(process, context) }
            return
        }
        var pause = Span.milliseconds(20)
        while true {
            if try context.wait(until: context.environment.clock() + pause, for: process.descriptor) {
                throw self.early(process, context)
            }
            // One check that hangs (a service that accepts and does not answer yet) must not use up the whole start.
            let limit = context.call.resource.monitorTimeout
            if try self.runCheck(check, user: user, context, timeout: limit).succeeded { return }
            pause = min(pause * 2 + .milliseconds(10), .milliseconds(100))
        }
    }

    private func early(_ process: SpawnedProcess, _ context: CallContext) -> CallInterruption {
        let end = ProcessEnd.of(process.descriptor) ?? .unknown
        let last = context.ownLog.lastLine.map { ": \($0)" } ?? ""
        let hint = end == .exited(0) ? "; the command must stay in the foreground" : ""
        let space = context.environment.spaceHint
        return .soft(
            "the command \(end) while it was starting\(last)\(hint)\(space) (its output is in \(context.ownLog.path))")
    }

    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        context.watcher.expectEnd(context.key)
        let clock = context.environment.clock
        let record = context.records.service(context.call.group, context.call.resource.name)
        var patience = context.left(reserve: Self.killReserve(context.call.timeout))
        // What lost its main process is broken already: what is left of it gets a moment, not the whole time of a stop.
        if record?.identity.isAlive != true { patience = min(patience, Self.remnantPatience) }
        let graceful = clock() + patience
        if let record, record.identity.isAlive { try self.askToStop(record, until: graceful, context) }
        if !context.cgroup.waitUntilEmpty(until: min(graceful, clock() + .milliseconds(100)), clock: clock) {
            self.insist(record, until: graceful, context)
        }
        if !context.cgroup.waitUntilEmpty(until: clock(), clock: clock) {
            context.log("did not stop in \(context.call.timeout) and is killed: \(context.cgroup.processes())")
            guard context.cgroup.killAll(until: context.deadline, clock: clock) else {
                throw .hard("processes do not die, not even by SIGKILL: \(context.cgroup.processes())")
            }
        }
        context.records.removeService(context.call.group, context.call.resource.name)
        context.cgroup.remove()
        return .success
    }

    private func askToStop(
        _ record: ServiceRecord, until: Tick, _ context: CallContext
    ) throws(CallInterruption) {
        if let command = context.parameter("stop") {
            let user = try self.user(context)
            var variables = self.environment(context, user: user)
            variables["HOLDFAST_MAINPID"] = String(record.pid)
            let result = try context.run(
                ["/bin/sh", "-c", command], environment: variables, directory: context.parameter("directory"),
                user: user, timeout: until.since(context.environment.clock()))
            if !result.succeeded { context.log("the stop command \(result.reason); SIGTERM follows") }
        }
        record.identity.signal(SIGTERM)
    }

    /// The main process has been asked; once it is gone, what it left behind is asked too.
    private func insist(_ record: ServiceRecord?, until: Tick, _ context: CallContext) {
        var asked = false
        let clock = context.environment.clock
        while clock() < until, !context.cancel.isCancelled {
            if !asked, record?.identity.isAlive != true {
                asked = true
                for process in context.cgroup.processes() { ProcessIdentity(pid: process)?.signal(SIGTERM) }
            }
            if context.cgroup.waitUntilEmpty(until: min(until, clock() + .milliseconds(50)), clock: clock) { return }
        }
    }

    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let found = try self.probe(context)
        guard found == .success else { return found }
        guard let check = context.parameter("check") else { return .success }
        let result = try self.runCheck(check, user: try self.user(context), context)
        if result.succeeded { return .success }
        throw .soft("the check command \(result.reason)")
    }

    func probe(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        if let record = context.records.service(context.call.group, context.call.resource.name),
            record.identity.isAlive
        {
            return .success
        }
        let populated: Bool
        do { populated = try context.cgroup.isPopulated() } catch { throw .soft(error) }
        let left = context.cgroup.processes()
        if populated, !left.isEmpty { throw .soft("its main process is gone, others are left: \(left)") }
        return .notRunning
    }

    private func runCheck(
        _ check: String, user: UserIdentity?, _ context: CallContext, timeout: Span? = nil
    ) throws(CallInterruption) -> CommandResult {
        try context.run(
            ["/bin/sh", "-c", check], environment: self.environment(context, user: user),
            directory: context.parameter("directory"), user: user, timeout: timeout)
    }

    private func user(_ context: CallContext) throws(CallInterruption) -> UserIdentity? {
        guard let name = context.parameter("user") else { return nil }
        do { return try UserIdentity(name: name) } catch { throw .hard(error.description) }
    }

    private func environment(_ context: CallContext, user: UserIdentity?) -> [String: String] {
        var variables = CallContext.toolEnvironment
        variables["LC_ALL"] = nil
        variables["LANG"] = "C.UTF-8"
        variables["SHELL"] = "/bin/sh"
        variables["USER"] = user?.name ?? "root"
        variables["LOGNAME"] = variables["USER"]
        variables["HOME"] = user?.home ?? "/root"
        for parameter in context.call.resource.parameters where parameter.key.hasPrefix("environment.") {
            variables[String(parameter.key.dropFirst("environment.".count))] = parameter.value
        }
        variables["HOLDFAST_EPOCH"] = context.call.epoch.description
        variables["HOLDFAST_GROUP"] = context.call.group.rawValue
        variables["HOLDFAST_RESOURCE"] = context.call.resource.name.rawValue
        variables["HOLDFAST_NODE"] = context.environment.nodeName
        variables["HOLDFAST_CLUSTER"] = context.environment.clusterName
        return variables
    }
}
