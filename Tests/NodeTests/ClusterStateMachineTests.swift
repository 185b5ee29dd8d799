import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let tok = NodeID(1)
private let osk = NodeID(2)
/// As `StateLog` numbers them.
private let secondStart = StartMark(directory: DirectoryID(high: 1, low: 0), start: 2, nonce: 2)

/// What counts against a group when its machine ends. (Rule L21, NoFlap)
@Suite struct `Ends of machines in the replicated state` {
    /// Each entry of a log is a second of cluster time.
    @Test(arguments: [(entries: 2, counted: 1), (entries: 90, counted: 0)])
    func `the loss of a machine uses up a move only soon after the group had come (NoFlap)`(entries: Int, counted: Int)
    {
        let log = StateLog()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        log.run(.joins(data, log.epoch, version: log.state.volume(data)?.version ?? 0, osk))
        for _ in 0..<entries { log.run(.drain(osk, isDrained: false)) }
        log.lose(tok)
        #expect(log.assign(osk).isAccepted)
        #expect(log.state.group(orders)?.moves.count == counted)
        // It does not go back before that is half a minute ago.
        let moved = log.state.group(orders)?.moves.last ?? log.state.clusterMilliseconds
        let unsettled = [0, 29_999, 30_000].map { log.state.observation(at: moved + $0).group(orders)?.isUnsettled }
        #expect(unsettled == (counted > 0 ? [true, true, false] : [false, false, false]))
    }

    @Test func `a failure of the group uses up a move, and a shutdown does not (NoFlap, rule L21)`() {
        for isFailure in [true, false] {
            let log = StateLog()
            log.configure()
            log.declareAbsent()
            log.assign(tok)
            log.run(.joins(data, log.epoch, version: log.state.volume(data)?.version ?? 0, osk))
            if isFailure {
                let failure = GroupFailure(resource: ResourceName("disk"), reason: "failed", isFatal: false)
                log.run(.stopped(orders, log.epoch, failure: failure))
            } else {
                log.run(.depart(tok, log.life(tok), isDeparting: true))
                log.run(.release(orders, log.epoch, target: osk, reason: "the test"))
                log.run(.stopped(orders, log.epoch, failure: nil))
            }
            #expect(log.assign(osk).isAccepted)
            #expect(log.state.group(orders)?.moves.count == (isFailure ? 1 : 0))
        }
    }

    @Test func `a node alone says that it shuts down, and its next life is a new one (rule L21)`() throws {
        let log = StateLog()
        log.configure()
        #expect(!log.run(.depart(tok, Incarnation(9999), isDeparting: true)).isAccepted)
        #expect(log.state.objection(to: .depart(tok, log.life(tok), isDeparting: true), from: osk) != nil)
        #expect(log.run(.depart(tok, log.life(tok), isDeparting: true)).isAccepted)
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        let plan = Planner.plan(policy: log.state.policy, observation: log.state.observation)
        #expect(!plan.actions.contains { $0.reason.contains("assign orders to tok-1") }, "\(plan)")
        log.lose(tok)
        #expect(log.run(.admit(tok, bootID: "second boot", mark: secondStart)).isAccepted)
        #expect(log.state.node(tok)?.isDeparting == false)
    }
}
