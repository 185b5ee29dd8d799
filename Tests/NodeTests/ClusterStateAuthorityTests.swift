import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private func start(_ number: UInt64, of directory: UInt64 = 1, nonce: UInt64 = 0) -> StartMark {
    StartMark(directory: DirectoryID(high: directory, low: 0), start: number, nonce: nonce + number)
}

private typealias Log = StateLog

private let data = VolumeName("data")
private let wit = NodeID(3)
private let osk = NodeID(2)
private let tok = NodeID(1)
private let orders = GroupName("orders")

@Suite struct `Who may give a command` {
    private func running() -> Log {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        return log
    }

    @Test func `the owner alone says that its group runs or has stopped`() {
        let log = self.running()
        for stranger in [osk, wit] {
            #expect(!log.run(.started(orders, log.epoch), from: stranger).isAccepted)
            #expect(!log.run(.stopped(orders, log.epoch, failure: nil), from: stranger).isAccepted)
        }
        #expect(log.run(.started(orders, log.epoch), from: tok).isAccepted)
        #expect(log.run(.stopped(orders, log.epoch, failure: nil), from: tok).isAccepted)
    }

    @Test func `who writes to a volume alone changes its set`() {
        let log = self.running()
        let version = log.state.volume(data)?.version ?? 0
        #expect(!log.run(.joins(data, log.epoch, version: version, osk), from: osk).isAccepted)
        #expect(log.run(.joins(data, log.epoch, version: version, osk), from: tok).isAccepted)
        #expect(!log.run(.leaves(data, log.epoch, version: version + 1, osk), from: wit).isAccepted)
    }

    @Test func `a node alone begins its life, and says what it found`() {
        let log = Log()
        log.configure()
        #expect(!log.run(.absent(orders, osk, log.life(osk), since: log.search), from: tok).isAccepted)
        log.lose(tok)
        #expect(!log.run(.admit(tok, bootID: "stolen", mark: start(9)), from: osk).isAccepted)
        #expect(log.run(.admit(tok, bootID: "second", mark: start(9)), from: tok).isAccepted)
    }

    @Test func `a witness gives no orders`() {
        let log = self.running()
        let policy = log.state.policy
        for command: Command in [
            .configure(policy, text: "", expectedIndex: log.state.policyIndex), .want(orders, isRunning: false),
            .move(orders, to: osk), .drain(tok, isDrained: true),
            .declareAbsent(orders, nodes: [tok], since: log.search, statement: "s"),
            .acceptLoss(data, log.epoch, version: 1, osk, statement: "s"), .addNode(Log.about("new-1")),
        ] {
            #expect(!log.run(command, from: wit).isAccepted, "\(command)")
        }
        #expect(log.run(.want(orders, isRunning: false), from: osk).isAccepted)
    }
}
