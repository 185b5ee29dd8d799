import Basis
import Cluster
import Resources
import Testing

private func at(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

/// A runner whose agents answer as told.
private final class Bench {
    var runner: GroupRunner
    let original: GroupPolicy
    var requests: [GroupRunner.Request] = []
    var now: UInt64 = 1000

    init(_ agents: [String] = ["filesystem", "exec", "address"], attempts: Int = 2) {
        let resources = agents.enumerated().map { place, agent in
            ResourcePolicy(
                name: ResourceName("r\(place)"), agent: agent,
                parameters: agent == "volume" ? [.init("volume", "data")] : [])
        }
        let policy = GroupPolicy(
            name: GroupName("g"), nodes: ["a"], restartAttempts: attempts, resources: resources)
        self.original = policy
        self.runner = GroupRunner(
            policy: policy, epoch: Epoch(generation: 0, index: 9), incarnation: Incarnation(3), firstCall: 1)
    }

    /// The group's policy with other resources.
    func policy(_ change: (inout [ResourcePolicy]) -> Void) -> GroupPolicy {
        var policy = self.original
        change(&policy.resources)
        return policy
    }

    func step(_ input: GroupRunner.Input) {
        self.requests = []
        self.runner.step(input, at: at(self.now), into: &self.requests)
    }

    var call: AgentCall? {
        for case .call(let call) in self.requests where call.action != .monitor { return call }
        return nil
    }

    /// Whose checks are asked for.
    var checked: [String] {
        self.requests.compactMap { request in
            guard case .call(let call) = request, call.action == .monitor else { return nil }
            return call.resource.name.rawValue
        }
    }

    /// Answers calls with success until there are none.
    func succeed() -> [String] {
        var done: [String] = []
        while let call = self.call {
            done.append("\(call.action.rawValue) \(call.resource.name)")
            self.step(.agentFinished(id: call.id, .success))
        }
        return done
    }
}

@Suite struct `A group on its node` {
    @Test func `starts in order and stops in reverse`() {
        let bench = Bench()
        bench.step(.resume)
        #expect(bench.succeed() == ["start r0", "start r1", "start r2"])
        #expect(bench.requests == [.reportStarted])
        bench.step(.stop(nil))
        #expect(bench.succeed() == ["stop r2", "stop r1", "stop r0"])
        #expect(bench.requests == [.reportStopped(nil)])
        #expect(bench.runner.isFinished)
    }

    @Test func `restarts what died and what stands on it`() {
        let bench = Bench()
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.exited(ResourceName("r1"), reason: "killed by signal 9"))
        #expect(bench.succeed() == ["stop r2", "stop r1", "start r1", "start r2"])
        #expect(bench.runner.isUp)
    }

    @Test func `what ran for a quarter of a second is restarted at once, what dies young waits longer each time`() {
        let bench = Bench(["exec"], attempts: 100)
        bench.step(.resume)
        _ = bench.succeed()
        func waits(afterRunning milliseconds: UInt64) -> UInt64 {
            bench.now += milliseconds
            bench.step(.exited(ResourceName("r0"), reason: "killed by signal 9"))
            let died = bench.now
            while bench.call == nil {
                bench.now += 5
                bench.step(.tick)
            }
            #expect(bench.succeed() == ["stop r0", "start r0"])
            return bench.now - died
        }
        #expect(waits(afterRunning: 5000) == 0)
        #expect(waits(afterRunning: 250) == 0)
        #expect([50, 100, 200, 400, 500, 500] == (1...6).map { _ in waits(afterRunning: 200) })
        #expect(waits(afterRunning: 250) == 0)
        #expect(waits(afterRunning: 249) == 50)
    }

    @Test func `a volume that cannot be opened here is tried a few times, then the group is given up`() {
        let bench = Bench(["volume", "exec"], attempts: 2)
        let data = VolumeName("data")
        bench.step(.resume)
        for attempt in 1...2 {
            #expect(bench.requests.contains(.openVolume(data)), "attempt \(attempt)")
            bench.step(.volumeFailed(data, reason: "its disk failed"))
            #expect(bench.runner.goal == .up)
            bench.step(.volumeFailed(data, reason: "its disk failed"))
            #expect(!bench.requests.contains(.openVolume(data)), "it waits before it tries again")
            bench.now += 500
            bench.step(.tick)
        }
        bench.step(.volumeFailed(data, reason: "its disk failed"))
        #expect(bench.requests.contains(.closeVolume(data)))
        bench.step(.volumeClosed(data))
        let failure = GroupFailure(
            resource: ResourceName("r0"), reason: "cannot be opened: its disk failed (3 times within 10 min)",
            isFatal: false)
        #expect(bench.requests == [.reportStopped(failure)])
    }

    private func onVolume(attempts: Int = 2) -> Bench {
        let bench = Bench(["volume", "filesystem", "exec"], attempts: attempts)
        bench.step(.resume)
        bench.step(.volumeOpened(VolumeName("data")))
        #expect(bench.succeed() == ["start r0", "start r1", "start r2"] && bench.runner.isUp)
        return bench
    }

    @Test func `waits for the server of a volume that ended under it, and stops nothing (rule V23)`() {
        let bench = self.onVolume()
        let data = VolumeName("data")
        bench.step(.volumeLost(data, reason: "its server was killed"))
        #expect(bench.requests.contains(.openVolume(data)) && bench.call == nil && bench.runner.isUp)
        bench.now += 500
        bench.step(.tick)
        #expect(bench.requests == [.openVolume(data)])
        bench.step(.volumeLost(data, reason: "its volume server was restarted"))
        #expect(bench.requests == [.openVolume(data)])
        bench.step(.volumeOpened(data))
        #expect(bench.runner.isUp && bench.call == nil)
        // The device may be larger now, and what stands on it is looked at once.
        bench.step(.tick)
        #expect(bench.checked == ["r0", "r1", "r2"])
        bench.now += 60_000
        bench.step(.tick)
        #expect(!bench.requests.contains(.openVolume(data)) && bench.runner.isUp)
    }

    @Test func `lets what waits for a volume fail when its server does not come back (rule V23)`() {
        let bench = self.onVolume()
        let data = VolumeName("data")
        bench.step(.volumeLost(data, reason: "its server was killed"))
        bench.now += 10_000
        bench.step(.tick)
        #expect(bench.requests.contains(.cutVolume(data)))
        #expect(bench.succeed() == ["stop r2", "stop r1", "stop r0"])
        // A stop that is under way is helped too.
        let other = self.onVolume()
        other.step(.volumeLost(data, reason: "its server was killed"))
        other.step(.stop(nil))
        #expect(other.call?.action == .stop)
        other.now += 10_000
        other.step(.tick)
        #expect(other.requests.contains(.cutVolume(data)))
    }

    @Test func `a volume server that ends again and again is no pause (rule V23)`() {
        let bench = self.onVolume(attempts: 1)
        let data = VolumeName("data")
        for _ in 1...2 {
            bench.step(.volumeLost(data, reason: "its server was killed"))
            #expect(bench.runner.isUp)
            bench.step(.volumeOpened(data))
        }
        bench.step(.volumeLost(data, reason: "its server was killed"))
        #expect(bench.requests.contains(.cutVolume(data)) && bench.call?.action == .stop)
    }

    @Test func `a volume that fails under a group is cut off before anything on it is stopped`() {
        let bench = self.onVolume()
        bench.step(.volumeFailed(VolumeName("data"), reason: "its disk failed"))
        let cut = bench.requests.firstIndex(of: .cutVolume(VolumeName("data")))
        let stop = bench.requests.firstIndex { if case .call = $0 { true } else { false } }
        #expect(cut != nil && stop != nil && (cut ?? 9) < (stop ?? 0))
    }

    @Test func `a new configuration stops and starts what differs and what stands on it, once`() {
        let bench = Bench(["volume", "filesystem", "exec", "address"])
        bench.step(.resume)
        bench.step(.volumeOpened(VolumeName("data")))
        #expect(bench.succeed() == ["start r0", "start r1", "start r2", "start r3"])
        let other = ResourcePolicy.Parameter("command", "other")
        let policy = bench.policy { $0[2].parameters = [other] }
        #expect(!bench.runner.agrees(with: policy))
        bench.step(.change(policy))
        #expect(bench.runner.agrees(with: policy) && !bench.runner.isUp)
        #expect(bench.succeed() == ["stop r3", "stop r2", "start r2", "start r3"])
        #expect(bench.runner.isUp)
        #expect(bench.runner.resources[2].policy.parameters == [other])

        let shorter = bench.policy {
            $0[2].parameters = [other]
            $0.removeLast()
        }
        bench.step(.change(shorter))
        #expect(bench.succeed() == ["stop r3"])
        #expect(bench.runner.isUp && bench.runner.resources.count == 3)
        bench.step(.change(policy))
        #expect(bench.succeed() == ["start r3"])
        bench.step(.change(bench.policy { $0.insert(ResourcePolicy(name: ResourceName("new"), agent: "exec"), at: 0) }))
        #expect(bench.succeed() == ["stop r3", "stop r2", "stop r1", "stop r0", "start new"])
        #expect(bench.requests.contains(.openVolume(VolumeName("data"))))
        bench.step(.volumeOpened(VolumeName("data")))
        #expect(bench.succeed() == ["start r0", "start r1", "start r2", "start r3"])
        #expect(bench.runner.isUp)
    }

    @Test func `new times stop nothing, and a stop comes before a new configuration`() {
        let bench = Bench()
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.change(bench.policy { $0[1].stopTimeout = .seconds(7) }))
        #expect(bench.call == nil && bench.runner.isUp)
        bench.step(.stop(nil))
        bench.step(.change(bench.policy { $0.removeAll() }))
        bench.step(.tick)
        #expect(bench.runner.resources.count == 3)
    }

    @Test func `a new configuration that comes while a start hangs or everything is killed is taken after that`() {
        let bench = Bench()
        bench.step(.resume)
        let hanging = bench.call?.id
        bench.step(.change(bench.policy { $0[0].parameters = [.init("mount", "/other")] }))
        #expect(bench.requests.contains(.cancel(hanging ?? 0)))
        #expect(bench.succeed() == ["stop r0", "start r0", "start r1", "start r2"])
        bench.step(.suspend)
        bench.step(.change(bench.policy { $0.removeLast() }))
        bench.step(.killed(true))
        bench.step(.resume)
        #expect(bench.succeed() == ["start r0", "start r1"])
        #expect(bench.runner.isUp)
    }

    @Test func `what fails because its restart is under way does not count again`() {
        let bench = Bench(attempts: 1)
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.exited(ResourceName("r0"), reason: "its disk is gone"))
        let stop = bench.call
        bench.step(.exited(ResourceName("r1"), reason: "its disk is gone"))
        bench.step(.exited(ResourceName("r0"), reason: "its disk is gone"))
        #expect(bench.runner.goal == .up)
        if let stop { bench.step(.agentFinished(id: stop.id, .success)) }
        #expect(bench.succeed() == ["stop r1", "stop r0", "start r0", "start r1", "start r2"])
        #expect(bench.runner.isUp)
    }

    @Test func `gives up after the restarts that are allowed, and says why`() {
        let bench = Bench(["exec"], attempts: 1)
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.exited(ResourceName("r0"), reason: "crashed"))
        _ = bench.succeed()
        bench.step(.exited(ResourceName("r0"), reason: "crashed"))
        #expect(bench.succeed() == ["stop r0"])
        guard case .reportStopped(let failure)? = bench.requests.last else {
            Issue.record("nothing was reported: \(bench.requests)")
            return
        }
        #expect(failure?.reason.contains("crashed") == true)
    }

    @Test func `kills when a stop fails, and reports only when all is dead (rule L11)`() {
        let bench = Bench(["exec"])
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.stop(nil))
        let stop = bench.call
        bench.step(.agentFinished(id: stop?.id ?? 0, .timedOut))
        #expect(bench.requests.contains(.kill))
        bench.step(.killed(false))
        #expect(!bench.runner.isFinished)
        #expect(!bench.requests.contains(.reportStopped(nil)))
        bench.now += 200
        bench.step(.tick)
        #expect(bench.requests.contains(.kill))
        bench.step(.killed(true))
        #expect(bench.requests == [.reportStopped(nil)])
    }

    @Test func `a stop that leaves it running, if badly, is a stop that failed (rule L11)`() {
        let bench = Bench(["exec"])
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.stop(nil))
        bench.step(.agentFinished(id: bench.call?.id ?? 0, .degraded(reason: "agent stop: still running")))
        #expect(bench.requests.contains(.kill) && !bench.requests.contains(.reportStopped(nil)))
    }

    @Test func `an address that is to be put back after a doubt is not stopped before its stop (rules L11, L20, B5)`() {
        for (input, done) in [
            (GroupRunner.Input.stop(nil), ["stop r2", "stop r1", "stop r0"]),
            (.change(Bench(["address", "exec", "address"]).policy { $0.removeLast() }), ["stop r2"]),
        ] {
            let bench = Bench(["address", "exec", "address"])
            bench.step(.resume)
            _ = bench.succeed()
            bench.step(.readdress)
            let start = bench.call
            #expect(start?.resource.name == ResourceName("r0"))
            #expect(!bench.runner.isEmpty && !bench.runner.isUp)
            bench.step(input)
            if bench.call == nil { bench.step(.agentFinished(id: start?.id ?? 0, .success)) }
            #expect(bench.succeed() == done)
        }
        let bench = Bench(["address", "exec", "address"])
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.readdress)
        #expect(bench.succeed() == ["start r0", "start r2"])
        #expect(bench.runner.isUp)
    }

    @Test func `is not empty while a start is in progress (rule L11)`() {
        let bench = Bench(["exec"])
        bench.step(.resume)
        #expect(!bench.runner.isEmpty)
        bench.step(.stop(nil))
        #expect(bench.requests.contains { if case .cancel = $0 { true } else { false } })
        #expect(!bench.runner.isFinished)
        #expect(bench.succeed() == ["stop r0"])
        #expect(bench.runner.isFinished)
    }

    @Test func `opens its volume before it attaches it, and closes it after (rule L11)`() {
        let bench = Bench(["volume", "exec"])
        let volume = VolumeName("data")
        bench.step(.resume)
        #expect(bench.requests == [.openVolume(volume)])
        bench.step(.volumeOpened(volume))
        #expect(bench.succeed() == ["start r0", "start r1"])
        bench.step(.stop(nil))
        #expect(bench.succeed() == ["stop r1", "stop r0"])
        #expect(bench.requests == [.closeVolume(volume)])
        #expect(!bench.runner.isFinished)
        bench.step(.volumeClosed(volume))
        #expect(bench.requests == [.reportStopped(nil)])
    }

    @Test func `what was opening when the lease ended is closed when it is ready, not used (rule L12.1)`() {
        let volume = VolumeName("data")
        for isStopped in [false, true] {
            let bench = Bench(["volume", "exec"])
            bench.step(.resume)
            #expect(bench.requests == [.openVolume(volume)])
            bench.step(.suspend)
            #expect(bench.requests == [.kill])
            if isStopped { bench.step(.killed(true)) }
            bench.step(.volumeOpened(volume))
            #expect(bench.requests.isEmpty, "no agent is called")
            bench.step(.killed(true))
            #expect(bench.runner.isEmpty && bench.call == nil)
        }
        let bench = Bench(["volume", "exec"])
        bench.step(.resume)
        bench.step(.stop(nil))
        #expect(bench.requests == [.closeVolume(volume)])
        bench.step(.volumeOpened(volume))
        #expect(bench.requests.isEmpty)
        bench.step(.volumeClosed(volume))
        #expect(bench.requests == [.reportStopped(nil)])
    }

    @Test func `a failure while a volume is opened closes it and starts nothing more (rule L12.1)`() {
        let bench = Bench(["exec", "volume", "exec"], attempts: 0)
        let volume = VolumeName("data")
        bench.step(.resume)
        bench.step(.agentFinished(id: bench.call?.id ?? 0, .success))
        #expect(bench.requests == [.openVolume(volume)])
        bench.step(.exited(ResourceName("r0"), reason: "killed by signal 9"))
        #expect(bench.requests.contains(.closeVolume(volume)))
        bench.step(.volumeOpened(volume))
        #expect(bench.requests.isEmpty)
        bench.step(.volumeClosed(volume))
        #expect(bench.succeed() == ["stop r0"])
        #expect(bench.runner.isFinished)
    }

    @Test func `a stop that began goes on after the lease is back, and what has stopped never runs again (rule L11.1)`()
    {
        let bench = Bench(["exec", "exec"])
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.stop(nil))
        bench.step(.suspend)
        bench.step(.killed(true))
        #expect(bench.call == nil && bench.runner.goal == .suspended)
        bench.step(.resume)
        #expect(bench.requests == [.reportStopped(nil)])
        bench.step(.suspend)
        #expect(bench.requests.isEmpty && bench.runner.isFinished)
        bench.step(.resume)
        #expect(bench.requests.isEmpty && bench.runner.isFinished)
    }

    @Test func `kills at the end of the lease and starts again under the same epoch when it is back (rules L12, L15)`()
    {
        let bench = Bench()
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.suspend)
        #expect(bench.requests == [.kill])
        bench.step(.killed(true))
        #expect(bench.call == nil)
        #expect(bench.runner.isEmpty)
        bench.step(.resume)
        #expect(bench.succeed() == ["start r0", "start r1", "start r2"])
        #expect(bench.runner.epoch == Epoch(generation: 0, index: 9))
    }
}
