import Basis
import Resources

/// The agents of this node, as the loop uses them: every call and every kill runs on a thread of its own.
final class AgentHost: Sendable {
    private static let killTime = Span.seconds(5)

    private let runner: AgentRunner
    private let log: DriverLog
    private let killing = WaitingLock<[GroupName]>([])

    init(_ environment: AgentEnvironment, log: DriverLog) {
        self.runner = AgentRunner(environment: environment)
        self.log = log
    }

    /// Sends what ends by itself to the loop.
    func report(to queue: WaitingLock<[DaemonLoop.Item]>) {
        self.runner.onExit = { group, resource, epoch, reason in
            queue.change { $0.append(.input(.serviceExited(group, resource, epoch, reason: reason))) }
        }
    }

    /// Performs a call; its outcome goes to the loop.
    func call(_ call: AgentCall, _ queue: WaitingLock<[DaemonLoop.Item]>) {
        let id = call.id
        self.runner.run(call) { outcome in queue.change { $0.append(.input(.agentFinished(id: id, outcome))) } }
    }

    /// Gives a call up.
    func cancel(_ id: UInt64) { self.runner.cancel(id) }

    /// Kills everything of a group, unless that is under way.
    func kill(_ group: GroupName, _ queue: WaitingLock<[DaemonLoop.Item]>) {
        let isNew = self.killing.change { killing -> Bool in
            guard !killing.contains(group) else { return false }
            killing.append(group)
            return true
        }
        guard isNew else { return }
        DriverThread.start("killing") {
            let isDead = self.runner.killGroup(group, deadline: MachineClock.now + Self.killTime)
            self.killing.change { killing in killing.removeAll { $0 == group } }
            queue.change { $0.append(.input(.groupKilled(group, isDead: isDead))) }
        }
    }

    // MARK: Start of the daemon (rule L10)

    /// Takes up the watch over what an earlier daemon left under a valid lease, and kills the rest.
    func adopt(_ facts: Facts) {
        for group in self.runner.groupsPresent() {
            guard let known = facts.groups.first(where: { $0.name == group }), known.isUp else {
                self.killUntilDead(group)
                continue
            }
            for service in self.runner.facts(for: group).services where service.epoch == known.epoch {
                self.runner.watchExisting(
                    group: group, resource: ResourceName(service.resource), epoch: service.epoch, pid: service.pid,
                    startTime: service.startTime)
            }
        }
    }

    /// Kills whatever is left of every group.
    func killEverything() {
        for group in self.runner.groupsPresent() { self.killUntilDead(group) }
    }

    /// Nothing may be claimed, let alone started, while something of an earlier life runs.
    private func killUntilDead(_ group: GroupName) {
        self.log.warning("\(group) was left over from an earlier life and is not adopted: killing it")
        while !self.runner.killGroup(group, deadline: MachineClock.now + Self.killTime) {
            self.log.error("\(group) does not die; this daemon waits for it. Look at its processes, or reboot")
        }
    }
}
