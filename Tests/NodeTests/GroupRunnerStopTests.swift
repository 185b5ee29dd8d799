import Basis
import Cluster
import Resources
import Testing

@Suite struct `A group that stops` {
    @Test func `gives up after the restarts that are allowed, and says why`() {
        let bench = GroupRunnerBench(["exec"], attempts: 1)
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
        let bench = GroupRunnerBench(["exec"])
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
        let bench = GroupRunnerBench(["exec"])
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.stop(nil))
        bench.step(.agentFinished(id: bench.call?.id ?? 0, .degraded(reason: "agent stop: still running")))
        #expect(bench.requests.contains(.kill) && !bench.requests.contains(.reportStopped(nil)))
    }

    @Test func `an address that is to be put back after a doubt is not stopped before its stop (rules L11, L20, B5)`() {
        for (input, done) in [
            (GroupRunner.Input.stop(nil), ["stop r2", "stop r1", "stop r0"]),
            (.change(GroupRunnerBench(["address", "exec", "address"]).policy { $0.removeLast() }), ["stop r2"]),
        ] {
            let bench = GroupRunnerBench(["address", "exec", "address"])
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
        let bench = GroupRunnerBench(["address", "exec", "address"])
        bench.step(.resume)
        _ = bench.succeed()
        bench.step(.readdress)
        #expect(bench.succeed() == ["start r0", "start r2"])
        #expect(bench.runner.isUp)
    }

    @Test func `is not empty while a start is in progress (rule L11)`() {
        let bench = GroupRunnerBench(["exec"])
        bench.step(.resume)
        #expect(!bench.runner.isEmpty)
        bench.step(.stop(nil))
        #expect(bench.requests.contains { if case .cancel = $0 { true } else { false } })
        #expect(!bench.runner.isFinished)
        #expect(bench.succeed() == ["stop r0"])
        #expect(bench.runner.isFinished)
    }

    @Test func `opens its volume before it attaches it, and closes it after (rule L11)`() {
        let bench = GroupRunnerBench(["volume", "exec"])
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
            let bench = GroupRunnerBench(["volume", "exec"])
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
        let bench = GroupRunnerBench(["volume", "exec"])
        bench.step(.resume)
        bench.step(.stop(nil))
        #expect(bench.requests == [.closeVolume(volume)])
        bench.step(.volumeOpened(volume))
        #expect(bench.requests.isEmpty)
        bench.step(.volumeClosed(volume))
        #expect(bench.requests == [.reportStopped(nil)])
    }

    @Test func `a failure while a volume is opened closes it and starts nothing more (rule L12.1)`() {
        let bench = GroupRunnerBench(["exec", "volume", "exec"], attempts: 0)
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
        let bench = GroupRunnerBench(["exec", "exec"])
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
        let bench = GroupRunnerBench()
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
