import Agents
import Basis
import Cluster
import Host
import Resources

/// The agents of this node, as the loop uses them: every call and every kill runs on a thread of its own.
final class AgentHost: Sendable {
    private static let killTime = Span.seconds(5)
    /// What is not dead by then is told at once: the others must hear of it before they start the group. (Rule L12.3)
    private static let firstKillTime = Span.milliseconds(300)
    /// Less than a client waits for it.
    private static let inspectionTime = Span.milliseconds(2500)
    private static let maximumInspections = 4

    private let runner: AgentRunner
    private let log: DriverLog
    private let killing = Locked<[GroupName]>([])
    private let inspector: NodeInspector
    private let inspecting = Locked<Int>(0)

    init(_ environment: AgentEnvironment, log: DriverLog) {
        self.runner = AgentRunner(environment: environment)
        self.inspector = NodeInspector(environment: environment)
        self.log = log
    }

    /// Sends what ends by itself to the loop.
    func report(to queue: LoopQueue) {
        self.runner.onExit = { group, resource, epoch, reason in
            queue.change { $0.append(.input(.serviceExited(group, resource, epoch, reason: reason))) }
        }
    }

    /// Performs a call; its outcome goes to the loop.
    func call(_ call: AgentCall, _ queue: LoopQueue) {
        let id = call.id
        self.runner.run(call) { outcome in queue.change { $0.append(.input(.agentFinished(id: id, outcome))) } }
    }

    /// Looks at this machine for a node; the answers go to the loop. At most a few at once: a node that asks without end
    /// gets no answer.
    func inspect(
        _ id: UInt64, for asker: NodeID, _ questions: [InspectionQuestion], _ queue: LoopQueue
    ) {
        let isFree = self.inspecting.change { count -> Bool in
            guard count < Self.maximumInspections else { return false }
            count += 1
            return true
        }
        guard isFree else { return }
        SystemThread.start("inspecting") {
            let answers = self.inspector.answer(questions, within: Self.inspectionTime)
            self.inspecting.change { $0 -= 1 }
            queue.change { $0.append(.input(.inspected(id: id, for: asker, answers))) }
        }
    }

    /// The OCF agents of this machine.
    var installedAgents: [String] { self.inspector.agents() }

    /// Gives a call up.
    func cancel(_ id: UInt64) { self.runner.cancel(id) }

    /// Kills everything of a group, unless that is under way.
    func kill(_ group: GroupName, _ queue: LoopQueue) {
        let isNew = self.killing.change { killing -> Bool in
            guard !killing.contains(group) else { return false }
            killing.append(group)
            return true
        }
        guard isNew else { return }
        SystemThread.start("killing") {
            var remains = self.runner.endGroup(group, deadline: MachineClock.now + Self.firstKillTime)
            if let remains { queue.change { $0.append(.input(.groupRemains(group, remains))) } }
            if remains?.kind == .unkilled {
                remains = self.runner.endGroup(group, deadline: MachineClock.now + Self.killTime)
            }
            self.killing.change { killing in killing.removeAll { $0 == group } }
            queue.change { [remains] in
                $0.append(.input(.groupRemains(group, remains)))
                $0.append(.input(.groupKilled(group, isDead: remains == nil)))
            }
        }
    }

    /// An operator answers for what the group's agents could not stop here.
    func forgetStarted(_ group: GroupName) { self.runner.forgetStarted(group) }

    // MARK: Start of the daemon (rule L10)

    /// Takes up the watch over what an earlier daemon left under a valid lease, and ends the rest.
    func adopt(_ facts: Facts, _ queue: LoopQueue) {
        var leftovers: [GroupName] = []
        for group in self.runner.groupsPresent() {
            guard let known = facts.groups.first(where: { $0.name == group }), known.isUp else {
                leftovers.append(group)
                continue
            }
            for service in self.runner.services(of: group) where service.epoch == known.epoch {
                self.runner.watchExisting(
                    group: group, resource: ResourceName(service.resource), epoch: service.epoch, pid: service.pid,
                    startTime: service.startTime)
            }
            self.runner.keepAddresses(of: group)
        }
        self.end(leftovers, queue)
    }

    /// Ends whatever is left of every group.
    func endEverything(_ queue: LoopQueue) { self.end(self.runner.groupsPresent(), queue) }

    /// What has not ended in time is the first thing that the loop hears: nothing of the group is started, and no new life
    /// claimed, while something of an earlier one is here. It is not waited for: an agent's stop may take minutes, and this
    /// node has a vote. (Rules L11.5, L12.3)
    private func end(_ groups: [GroupName], _ queue: LoopQueue) {
        guard !groups.isEmpty else { return }
        self.log.warning("left over from an earlier life and not adopted, so ended: \(groups)")
        for group in groups { self.kill(group, queue) }
        _ = self.killing.wait(atMost: Self.killTime) { $0.isEmpty ? true : nil }
        for group in self.killing.withLock({ $0 }) {
            let remains = GroupRemains(kind: .unstopped, reason: "has not ended what an earlier daemon left")
            queue.change { $0.append(.input(.groupRemains(group, remains))) }
        }
    }
}
