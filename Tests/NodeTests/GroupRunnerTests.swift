import Basis
import Cluster
import Resources
import Testing

@Suite struct `A group on its node` {
    @Test func `starts in order and stops in reverse`() {
        let bench = GroupRunnerBench()
        bench.step(.resume)
        #expect(bench.succeed() == ["start r0", "start r1", "start r2"])
        #expect(bench.requests == [.reportStarted])
        bench.step(.stop(nil))
        #expect(bench.succeed() == ["stop r2", "stop r1", "stop r0"])
        #expect(bench.requests == [.reportStopped(nil)])
        #expect(bench.runner.isFinished)
    }

    @Test func `restarts what died and what stands on it`() {
        let bench = GroupRunnerBench()
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.exited(ResourceName("r1"), reason: "killed by signal 9"))
        #expect(bench.succeed() == ["stop r2", "stop r1", "start r1", "start r2"])
        #expect(bench.runner.isUp)
    }

    @Test func `what ran for a quarter of a second is restarted at once, what dies young waits longer each time`() {
        let bench = GroupRunnerBench(["exec"], attempts: 100)
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
        let bench = GroupRunnerBench(["volume", "exec"], attempts: 2)
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

    private func onVolume(attempts: Int = 2) -> GroupRunnerBench {
        let bench = GroupRunnerBench(["volume", "filesystem", "exec"], attempts: attempts)
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

    @Test func `opens again a volume whose server ended while its device was being attached (rule V23)`() {
        let bench = GroupRunnerBench(["volume", "filesystem"])
        let data = VolumeName("data")
        bench.step(.resume)
        bench.step(.volumeOpened(data))
        guard let start = bench.call else { return #expect(Bool(false), "nothing is started") }
        bench.step(.volumeLost(data, reason: "its server was killed"))
        #expect(bench.requests.contains(.openVolume(data)) && bench.call == nil)
        // However long the start takes.
        bench.now += 60_000
        bench.step(.tick)
        #expect(bench.requests == [.openVolume(data)])
        bench.step(.agentFinished(id: start.id, .success))
        #expect(bench.succeed() == ["start r1"] && bench.runner.isUp)
        bench.now += 500
        bench.step(.tick)
        #expect(bench.requests.contains(.openVolume(data)))
        // From here on it is as with any volume whose server ended.
        bench.now += 10_000
        bench.step(.tick)
        #expect(bench.requests.contains(.cutVolume(data)) && bench.call?.action == .stop)
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
        let bench = GroupRunnerBench(["volume", "filesystem", "exec", "address"])
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
        let bench = GroupRunnerBench()
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
        let bench = GroupRunnerBench()
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
        let bench = GroupRunnerBench(attempts: 1)
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

}
