import Basis
import Foundation
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
    /// Starts that are running or waiting to.
    public var startsInProgress: Int

    /// Nothing of the group is here. The daemon adds that its volumes are closed.
    public var isAbsent: Bool {
        self.processes.isEmpty && self.addresses.isEmpty && self.mounts.isEmpty && self.devices.isEmpty
            && self.startsInProgress == 0
    }
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
            services: self.records.services().filter { $0.group == group.rawValue && $0.identity.isAlive },
            addresses: self.records.holdings(.addresses, of: group).filter { holding in
                guard holding.words.count >= 2, let address = InterfaceAddress(holding.words[0]) else { return false }
                return holding.words[1] == "*"
                    ? !address.interfaces.isEmpty : address.interfaces.contains(holding.words[1])
            }.map { $0.words.joined(separator: " ") },
            mounts: self.records.holdings(.mounts, of: group).compactMap(\.words.first)
                .filter { !table.mounted(at: $0).isEmpty },
            devices: self.records.holdings(.devices, of: group).filter { VolumeAttachment($0)?.isAttached == true }
                .compactMap { $0.words.dropFirst(2).first },
            startsInProgress: starts)
    }

    /// Every group of which something is recorded or has a cgroup here, sorted; for a daemon that has just started.
    public func groupsPresent() -> [GroupName] {
        var names = Set(self.records.services().map(\.group))
        for kind in RunRecords.Kind.allCases { names.formUnion(self.records.holdings(kind).map(\.group)) }
        for cgroup in self.environment.groupsCgroup.children where (try? cgroup.isPopulated()) != false {
            let name = String(cgroup.path.split(separator: "/").last ?? "")
            names.insert(name.removingPercentEncoding ?? name)
        }
        return names.filter { !$0.isEmpty }.sorted().map { GroupName($0) }
    }

    /// Ends everything of a group by force: calls, addresses, processes, mounts, devices. Blocks until it is done, at
    /// most until `deadline`; true when nothing is left. Starts are refused meanwhile. (Rules L11, L12)
    public func killGroup(_ group: GroupName, deadline: Tick) -> Bool {
        let answer = Answer()
        WorkerThread.start {
            self.environment.threadSetup()
            let dead = self.killHere(group, deadline: deadline)
            answer.value.withLock { $0 = dead }
            answer.done.signal()
        }
        answer.done.wait()
        return answer.value.withLock { $0 }
    }

    private final class Answer: Sendable {
        let value = Mutex(false)
        let done = DispatchSemaphore(value: 0)
    }

    private func killHere(_ group: GroupName, deadline: Tick) -> Bool {
        let began = self.environment.clock()
        self.withState { state in
            state.sealed[group, default: 0] += 1
            for (key, lane) in state.lanes where key.group == group { lane.running?.cancel.cancel() }
        }
        defer {
            self.withState { state in
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
            if empty, !dead { usleep(1000) }
        }
        let addresses = self.dropAddresses(of: group)
        let rest = self.releaseHoldings(of: group)
        if dead {
            for record in self.records.services() where record.group == group.rawValue {
                self.records.removeService(group, ResourceName(record.resource))
            }
            cgroup.remove()
        }
        let took = self.environment.clock().since(began)
        let result = dead && addresses && rest
        self.environment.log(
            result
                ? "\(group): killed in \(took)"
                : "\(group): not dead after \(took): processes \(cgroup.processes()), addresses gone \(addresses), "
                    + "mounts and devices gone \(rest)")
        return result
    }

    private func hasRunningCalls(_ group: GroupName) -> Bool {
        self.withState { state in state.lanes.contains { $0.key.group == group && $0.value.running != nil } }
    }

    @discardableResult
    private func dropAddresses(of group: GroupName) -> Bool {
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

    private func releaseHoldings(of group: GroupName) -> Bool {
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
