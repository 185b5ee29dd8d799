import Basis
import Dispatch
import Glibc
import Host
import Resources
import Synchronization

/// What of a group is on this node now, read from the kernel and not from memory. (Rules L10, L11)
public struct GroupFacts: Equatable, Sendable {
    /// Live processes in its cgroup, sorted.
    public var processes: [Int32]
    /// Recorded services whose main process is alive, sorted by resource.
    public var services: [ServiceRecord]
    /// Its addresses that this node has, `CIDR INTERFACE`.
    public var addresses: [String]
    /// Its mount points that are mounted.
    public var mounts: [String]
    /// Its attached block devices.
    public var devices: [String]
    /// Its resources that were started, and that only their agents' stop ends for certain, sorted.
    public var unstopped: [String]
    /// Starts that are running or waiting to.
    public var startsInProgress: Int
}

extension AgentRunner {
    /// What of a group is on this node. Does not block on devices or file systems.
    public func facts(for group: GroupName) -> GroupFacts {
        let table = MountTable()
        let starts = self.withState { state in
            state.lanes.filter { $0.key.group == group }.values.reduce(0) { count, lane in
                count + ([lane.running].compactMap { $0 } + lane.waiting).count { $0.call.action == .start }
            }
        }
        let cgroup = self.environment.cgroup(of: group)
        return GroupFacts(
            processes: (try? cgroup.isPopulated()) == false ? [] : cgroup.processes(),
            services: self.services(of: group),
            addresses: self.records.holdings(.addresses, of: group).filter { holding in
                guard holding.words.count >= 2, let address = InterfaceAddress(holding.words[0]) else { return false }
                return holding.words[1] == "*"
                    ? !address.interfaces.isEmpty : address.interfaces.contains(holding.words[1])
            }.map { $0.words.joined(separator: " ") },
            mounts: self.records.holdings(.mounts, of: group).compactMap(\.words.first)
                .filter { !table.mounted(at: $0).isEmpty },
            devices: self.records.holdings(.devices, of: group).filter { VolumeAttachment($0)?.isAttached == true }
                .compactMap { $0.words.dropFirst(2).first },
            unstopped: self.unstopped(of: group),
            startsInProgress: starts)
    }

    /// What only its agent's `stop` ends, or a person's word: sorted resources.
    private func unstopped(of group: GroupName) -> [String] {
        let started = self.records.started(of: group).filter { !$0.policy.isKillable }.map(\.resource)
        return (started + self.records.unreadable(of: group).map(\.resource.rawValue)).sorted()
    }

    /// The recorded services of a group whose main process is alive, sorted by resource.
    public func services(of group: GroupName) -> [ServiceRecord] {
        self.records.services(of: group).filter(\.identity.isAlive)
    }

    /// Every group of which something is recorded or has a cgroup here, sorted; for a daemon that has just started.
    public func groupsPresent() -> [GroupName] {
        var names = Set(self.records.services().map(\.group))
        for kind in RunRecords.Kind.allCases { names.formUnion(self.records.holdings(kind).map(\.group)) }
        names.formUnion(self.records.started().map(\.group))
        names.formUnion(self.records.unreadable().map(\.group.rawValue))
        for cgroup in self.environment.groupsCgroup.children where (try? cgroup.isPopulated()) != false {
            let name = String(cgroup.path.split(separator: "/").last ?? "")
            names.insert(Files.named(name))
        }
        return names.filter { !$0.isEmpty }.sorted().map { GroupName($0) }
    }

    /// Whether `endGroup` leaves nothing.
    public func killGroup(_ group: GroupName, deadline: Tick) -> Bool {
        self.endGroup(group, deadline: deadline) == nil
    }

    /// Ends everything of a group by force: calls, addresses, processes, mounts, devices; then what a kill does not end, by
    /// its agent's stop. Blocks until it is done, the kill at most until `deadline`, the stops for as long as theirs may
    /// take; nil when nothing is left, else what. Starts are refused meanwhile. (Rules L11, L12)
    public func endGroup(_ group: GroupName, deadline: Tick) -> GroupRemains? {
        let answer = Answer()
        SystemThread.demand("agent") {
            self.environment.threadSetup()
            let remains = self.killHere(group, deadline: deadline)
            answer.value.withLock { $0 = remains }
            answer.done.signal()
        }
        answer.done.wait()
        return answer.value.withLock { $0 }
    }

    private final class Answer: Sendable {
        let value = Mutex<GroupRemains?>(nil)
        let done = DispatchSemaphore(value: 0)
    }

    private func killHere(_ group: GroupName, deadline: Tick) -> GroupRemains? {
        let began = self.environment.clock()
        let callsEnded = DispatchSemaphore(value: 0)
        self.withState { state in
            state.sealed[group, default: 0] += 1
            state.killers[group, default: []].append(callsEnded)
            for (key, lane) in state.lanes where key.group == group { lane.running?.cancel.cancel() }
        }
        self.wakeCancelled()
        defer {
            self.withState { state in
                state.killers[group]?.removeAll { $0 === callsEnded }
                if state.killers[group]?.isEmpty == true { state.killers[group] = nil }
                let count = (state.sealed[group] ?? 1) - 1
                state.sealed[group] = count == 0 ? nil : count
            }
        }
        self.watcher.expectEnds(of: group)
        self.dropAddresses(of: group)
        let cgroup = self.environment.cgroup(of: group)
        var dead = false
        while !dead {
            // Asked before the kill: whatever a call starts before it ends must still be killed.
            let calls = self.hasRunningCalls(group)
            let slice = min(self.environment.clock() + .milliseconds(10), deadline)
            let empty = cgroup.killAll(until: slice, clock: self.environment.clock)
            dead = empty && !calls
            if !dead, self.environment.clock() >= deadline { break }
            // What a call starts until it ends must be killed too, so it is looked again and again; but not all the time.
            if empty, !dead { _ = callsEnded.wait(timeout: .now() + .milliseconds(20)) }
        }
        var left: [String] = []
        if !dead {
            let processes = cgroup.processes()
            left.append(
                processes.isEmpty ? "a call of an agent that does not end" : "processes \(processes.prefix(20))")
        }
        if !self.dropAddresses(of: group) { left.append("an address") }
        // A stop finds the mounts that it was started with, unless they stand on a volume: a frozen one answers nothing.
        if !self.records.holdings(.devices, of: group).isEmpty { _ = self.removeHoldings(of: group) }
        let unstopped = dead ? self.stopAfterKill(group) : nil
        if !self.removeHoldings(of: group) { left.append("a mount or a device") }
        if dead {
            for record in self.records.services(of: group) {
                self.records.removeService(group, ResourceName(record.resource))
            }
            cgroup.remove()
        }
        return self.remains(of: group, unkilled: left, unstopped: unstopped, since: began)
    }

    /// The result of a kill, said in the log too.
    private func remains(
        of group: GroupName, unkilled left: [String], unstopped: String?, since began: Tick
    ) -> GroupRemains? {
        let took = self.environment.clock().since(began)
        var words: [String] = []
        if !left.isEmpty { words.append("could not kill \(left.joined(separator: ", "))") }
        if let unstopped { words.append("could not stop \(unstopped)") }
        guard !words.isEmpty else {
            self.withState { $0.saidRemains[group] = nil }
            self.environment.log("\(group): killed in \(took)")
            return nil
        }
        let reason = words.joined(separator: ", and ")
        // It is tried again and again, and said when it changes.
        if self.withState({ $0.saidRemains.updateValue(reason, forKey: group) }) != reason {
            self.environment.log("\(group): not ended after \(took), and tried again: \(reason)")
        }
        return GroupRemains(kind: unstopped == nil ? .unkilled : .unstopped, reason: reason)
    }

    private func hasRunningCalls(_ group: GroupName) -> Bool {
        self.withState { state in state.lanes.contains { $0.key.group == group && $0.value.running != nil } }
    }

    @discardableResult
    private func dropAddresses(of group: GroupName) -> Bool {
        self.addresses.giveUp(group: group)
        var gone = true
        for holding in self.records.holdings(.addresses, of: group) {
            guard holding.words.count >= 2, let address = InterfaceAddress(holding.words[0]) else { continue }
            if address.drop(from: holding.words[1]) {
                self.records.remove(.addresses, group, ResourceName(holding.resource))
            } else {
                gone = false
            }
        }
        return gone
    }

    private func removeHoldings(of group: GroupName) -> Bool {
        var gone = true
        for holding in self.records.holdings(.mounts, of: group).reversed() {
            if let path = holding.words.first, !MountTable.detach(path) {
                gone = false
            } else {
                self.records.remove(.mounts, group, ResourceName(holding.resource))
            }
        }
        for holding in self.records.holdings(.devices, of: group) {
            if VolumeAttachment(holding)?.force() == false {
                gone = false
            } else {
                self.records.remove(.devices, group, ResourceName(holding.resource))
            }
        }
        return gone
    }
}
