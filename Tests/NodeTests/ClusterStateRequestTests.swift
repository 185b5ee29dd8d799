import Basis
import Cluster
import Resources
import Testing

private typealias Log = StateLog

private let orders = GroupName("orders")

@Suite struct `A request is applied once` {
    @Test func `a late copy does not undo a later command`() {
        let log = Log()
        log.configure()
        #expect(log.run(.want(orders, isRunning: false), sequence: 500).isAccepted)
        #expect(log.run(.want(orders, isRunning: true), sequence: 501).isAccepted)
        #expect(!log.run(.want(orders, isRunning: false), sequence: 500).isAccepted)
        #expect(log.state.group(orders)?.isWanted == true)
    }

    @Test func `one that was overtaken by others is applied, once`() {
        let log = Log()
        log.configure()
        for number in [900, 700, 1500, 800] as [UInt64] {
            #expect(log.run(.want(orders, isRunning: true), sequence: number).isAccepted, "\(number)")
            #expect(!log.run(.want(orders, isRunning: true), sequence: number).isAccepted, "\(number) again")
        }
    }

    @Test func `one that is older than all that is remembered counts as applied`() {
        let log = Log()
        log.configure()
        log.run(.want(orders, isRunning: true), sequence: 5000)
        #expect(!log.run(.want(orders, isRunning: true), sequence: 5000 - 2048).isAccepted)
        #expect(log.run(.want(orders, isRunning: true), sequence: 5000 - 2047).isAccepted)
    }

    @Test func `is remembered in a snapshot`() throws {
        let log = Log()
        log.configure()
        log.run(.want(orders, isRunning: false), sequence: 600)
        log.state = try ClusterState(decoding: log.state.encoded)
        #expect(!log.run(.want(orders, isRunning: false), sequence: 600).isAccepted)
    }
}
