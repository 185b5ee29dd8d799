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

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let tok = NodeID(1)
private let osk = NodeID(2)
private let wit = NodeID(3)

@Suite struct `Ownership in the replicated state` {
    @Test func `a mark is noted within a life, and begins none (rule E4.3)`() {
        let log = StateLog()
        let life = log.life(tok)
        var mark = log.state.node(tok)?.mark ?? .none
        mark.draw += 1
        #expect(log.run(.remark(tok, life, mark: mark)).isAccepted)
        #expect(log.state.node(tok)?.mark == mark && log.state.node(tok)?.incarnation == life)
        #expect(!log.run(.remark(tok, life, mark: mark)).isAccepted)
        log.run(.suspect(tok, life))
        log.run(.lost(tok, life, suspectedAt: log.state.appliedIndex))
        mark.draw += 1
        #expect(!log.run(.remark(tok, life, mark: mark)).isAccepted)
    }

    @Test func `find every group after a document that puts new ones before, between and after the old`() {
        let log = Log()
        for names in [["m"], ["a", "m", "z"], ["b", "k", "m", "n", "zz", "z"]] {
            let groups = names.map { GroupPolicy(name: GroupName($0), nodes: ["tok-1"], resources: []) }
            log.run(
                .configure(
                    ClusterPolicy(name: "prod", groups: groups), text: "", expectedIndex: log.state.policyIndex))
            #expect(log.state.groups.map(\.name.rawValue) == names.sorted())
            for name in names { #expect(log.state.group(GroupName(name))?.name.rawValue == name) }
        }
        #expect(log.state.group(GroupName("a")) == nil)
    }

    @Test func `a cluster is founded once (rule B1)`() {
        let log = Log()
        #expect(!log.run(.bootstrap(clusterID: 2, clusterName: "other", node: Log.about("x"))).isAccepted)
        #expect(log.state.clusterID == 1)
    }

    @Test func `a node that was never up joins again under another number, one that was up is not replaced (rule N2)`()
    {
        let log = Log()
        var slip = Log.about("new")
        slip.address = "wrong:1"
        #expect(log.run(.addNode(slip)).isAccepted)
        let first = log.state.node(named: "new")?.id
        #expect(log.run(.addNode(slip)).isAccepted, "a repeated command changes nothing")
        #expect(log.state.node(named: "new")?.id == first)
        #expect(log.run(.addNode(Log.about("new"))).isAccepted)
        let record = log.state.node(named: "new")
        #expect(record?.about.address == "new:1")
        #expect(record?.id != first && record?.id.rawValue == log.state.nodes.map(\.id.rawValue).max())
        #expect(log.state.nodes.filter { $0.about.name == "new" }.count == 1)
        var moved = Log.about("tok-1")
        moved.address = "elsewhere:1"
        #expect(!log.run(.addNode(moved)).isAccepted)
        var twin = Log.about("other")
        twin.address = "tok-1:1"
        #expect(!log.run(.addNode(twin)).isAccepted)
    }

    @Test func `a restart in place and one after the end of a lease are events`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        log.run(.restarted(orders, log.epoch, ResourceName("db"), reason: "exited with code 1"))
        #expect(log.state.events.last?.sentence == "orders/db exited with code 1 and is started again on tok-1")
        log.run(.restarted(orders, log.epoch, nil, reason: "the lease of tok-1 had ended"))
        #expect(
            log.state.events.last?.sentence
                == "orders stopped because the lease of tok-1 had ended, and is started again on tok-1")
        let late = log.run(
            .restarted(orders, Epoch(generation: 0, index: 1), ResourceName("db"), reason: "exited with code 1"))
        #expect(!late.isAccepted)
    }

    @Test func `an event says on which machine somebody asked for it`() {
        let log = Log()
        log.run(.drain(osk, isDrained: true))
        #expect(log.state.events.last?.sentence == "osk-1 is drained: its groups move away, asked on tok-1")
    }

    @Test func `what a node tells about itself is bounded and fit to be shown (rule N2)`() {
        let log = Log()
        let unfit = [
            JoiningNode(name: "a b", site: "s", address: "h:1", role: .member),
            JoiningNode(name: "", site: "s", address: "h:1", role: .member),
            JoiningNode(name: "x", site: "s\u{1B}[2J", address: "h:1", role: .member),
            JoiningNode(name: "x", site: "s", address: "h h:1", role: .member),
            JoiningNode(name: "x", site: "s", address: "h:0", role: .member),
            JoiningNode(name: "x", site: "s", address: String(repeating: "h", count: 300) + ":1", role: .member),
        ]
        for node in unfit { #expect(!log.run(.addNode(node)).isAccepted, "\(node)") }
        #expect(log.run(.addNode(Log.about("x"))).isAccepted)
    }

    @Test func `a group first starts only after every eligible member found nothing of it (rule B2)`() {
        let log = Log()
        log.configure()
        #expect(!log.assign(tok).isAccepted)
        log.absent(tok)
        #expect(!log.assign(tok).isAccepted)
        log.absent(osk)
        #expect(log.assign(tok).isAccepted)
    }

    @Test func `an operator can sign for members that have not reported (rule B2)`() {
        let log = Log()
        log.configure()
        log.run(.declareAbsent(orders, nodes: [osk], since: log.search, statement: "osk-1 is new"))
        #expect(!log.assign(tok).isAccepted, "nobody signed for tok-1")
        log.absent(tok)
        #expect(log.assign(tok).isAccepted)
    }

    @Test func `the epoch is the index of the assignment and only grows (rule E1)`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        let first = log.next
        log.assign(tok)
        #expect(log.epoch == Epoch(generation: 0, index: first.rawValue))
        #expect(Epoch(generation: 1, index: 1) > Epoch(generation: 0, index: 999))
        log.run(.stopped(orders, log.epoch, failure: nil))
        log.assign(tok)
        #expect(log.epoch.index > first.rawValue)
    }

    @Test func `refuses an assignment that was decided under another epoch (rule E1)`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        let before = log.epoch
        log.assign(tok)
        log.run(.stopped(orders, log.epoch, failure: nil))
        let late = Command.assign(orders, tok, log.life(tok), replacing: before, isTakeover: false, reason: "late")
        #expect(!log.run(late).isAccepted)
        #expect(log.state.group(orders)?.assignment == nil)
    }

    @Test func `nobody gets a group that another still owns`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        #expect(!log.assign(osk).isAccepted)
        #expect(!log.assign(osk, isTakeover: true).isAccepted)
    }

    @Test func `stopped counts only for the epoch that the group has (rule L11)`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        let old = log.epoch
        log.run(.stopped(orders, old, failure: nil))
        log.assign(tok)
        #expect(!log.run(.stopped(orders, old, failure: nil)).isAccepted)
        #expect(log.state.group(orders)?.assignment?.node == tok)
    }

    @Test func `lost must name the open suspicion and the living incarnation (rules L4, L6)`() {
        let log = Log()
        #expect(!log.run(.lost(tok, log.life(tok), suspectedAt: LogIndex(1))).isAccepted)
        let at = log.next
        log.run(.suspect(tok, log.life(tok)))
        #expect(!log.run(.lost(tok, Incarnation(1), suspectedAt: at)).isAccepted)
        log.run(.trust(tok, log.life(tok), suspectedAt: at))
        #expect(!log.run(.lost(tok, log.life(tok), suspectedAt: at)).isAccepted)
        #expect(log.state.node(tok)?.standing == .trusted)
        #expect(log.lose(tok).isAccepted)
    }

    @Test func `a fence device's word counts only if fencing began after the suspicion (rule L14)`() {
        let log = Log()
        let at = log.next
        log.run(.suspect(tok, log.life(tok)))
        #expect(
            !log.run(.fenced(tok, log.life(tok), suspectedAt: at, fencingBeganAfter: at.previous)).isAccepted)
        #expect(log.run(.fenced(tok, log.life(tok), suspectedAt: at, fencingBeganAfter: at)).isAccepted)
        #expect(log.state.node(tok)?.standing == .lost)
    }

    @Test func `a rebooted node begins a new life once the old one is lost, and not before (rule E3)`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        let old = log.life(tok)
        #expect(log.run(.admit(tok, bootID: "another boot", mark: start(2))).isAccepted, "its start is let in (E2.5)")
        #expect(!log.run(.admit(tok, bootID: "another boot", mark: start(2))).isAccepted)
        #expect(log.life(tok) == old)
        #expect(log.state.node(tok)?.bootID == "boot-n1")
        #expect(log.state.group(orders)?.assignment?.node == tok)
        let suspicion = log.next
        log.run(.suspect(tok, old))
        #expect(!log.run(.admit(tok, bootID: "another boot", mark: start(2))).isAccepted)
        log.run(.lost(tok, old, suspectedAt: suspicion))
        #expect(log.run(.admit(tok, bootID: "another boot", mark: start(2))).isAccepted)
        #expect(log.life(tok) > old)
        #expect(log.state.group(orders)?.assignment == nil)
    }

    @Test func `a life goes by the longest times since it began, a new one by those in force (rule L5.1)`() throws {
        let log = Log()
        func setTimes(lease: Span, grace: Span) {
            var policy = log.state.policy
            policy.timing.leaseDuration = lease
            policy.timing.leaseGrace = grace
            log.run(.configure(policy, text: "", expectedIndex: log.state.policyIndex))
        }
        setTimes(lease: .seconds(10), grace: .seconds(3))
        setTimes(lease: .seconds(2), grace: .seconds(1))
        // What was in force before is remembered in a snapshot too: the entries are gone by then.
        let restored = try ClusterState(decoding: log.state.encoded)
        #expect(restored.node(tok)?.longestLease == .seconds(10))
        #expect(restored.node(tok)?.longestGrace == .seconds(3))
        log.lose(tok)
        log.run(.admit(tok, bootID: "another boot", mark: start(2)))
        #expect(log.state.node(tok)?.longestLease == .seconds(2))
        #expect(log.state.node(tok)?.longestGrace == .seconds(1))
        #expect(log.state.node(osk)?.longestLease == .seconds(10))
    }

    @Test func `a restarted daemon keeps its life and its groups`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        let old = log.life(tok)
        #expect(log.run(.admit(tok, bootID: "boot-n1", mark: start(2))).isAccepted)
        #expect(log.life(tok) == old)
        #expect(log.state.group(orders)?.assignment?.node == tok)
    }

    @Test func `what is known of a log is never lowered, on the same boot neither (rule E2.7)`() {
        for boot in ["boot-n1", "another boot"] {
            let log = Log()
            #expect(log.run(.admit(tok, bootID: "boot-n1", mark: start(5))).isAccepted)
            let known = log.state.node(tok)?.mark
            #expect(known == start(5))
            #expect(!log.run(.admit(tok, bootID: boot, mark: start(3))).isAccepted)
            #expect(!log.run(.admit(tok, bootID: boot, mark: start(5, nonce: 99))).isAccepted)
            log.lose(tok)
            #expect(!log.run(.admit(tok, bootID: boot, mark: start(3))).isAccepted)
            #expect(log.state.node(tok)?.mark == known)
        }
    }

    @Test func `another log directory is let in only after the known life is lost (rule E2.6)`() {
        for boot in ["boot-n1", "another boot"] {
            let log = Log()
            log.configure()
            log.declareAbsent()
            log.assign(tok)
            let old = log.life(tok)
            #expect(!log.run(.admit(tok, bootID: boot, mark: start(1, of: 2))).isAccepted)
            #expect(log.life(tok) == old)
            #expect(log.state.group(orders)?.assignment?.node == tok)
            log.lose(tok)
            #expect(log.run(.admit(tok, bootID: boot, mark: start(1, of: 2))).isAccepted)
            #expect(log.life(tok) > old)
            #expect(log.state.node(tok)?.directoryAdmittedAt == log.state.appliedIndex)
        }
    }

    @Test func `a late repetition of an admission changes nothing (rules E2, E3)`() {
        let log = Log()
        log.lose(tok)
        log.run(.admit(tok, bootID: "second boot", mark: start(2)))
        let life = log.life(tok)
        #expect(log.run(.admit(tok, bootID: "second boot", mark: start(2))).isAccepted)
        #expect(!log.run(.admit(tok, bootID: "boot-n1", mark: start(1))).isAccepted)
        #expect(log.life(tok) == life)
    }

    @Test func `an immediate group moves on suspicion, another does not`() {
        for takeover in Takeover.allCases {
            let log = Log()
            log.configure(takeover: takeover)
            log.declareAbsent()
            log.assign(tok)
            let version = log.state.volume(data)?.version ?? 0
            log.run(.joins(data, log.epoch, version: version, osk))
            #expect(!log.assign(osk, isTakeover: true).isAccepted)
            log.run(.suspect(tok, log.life(tok)))
            #expect(log.assign(osk, isTakeover: true).isAccepted == (takeover == .immediate))
        }
    }

    @Test func `a witness is never an owner`() {
        let log = Log()
        log.configure()
        log.declareAbsent()
        #expect(!log.assign(wit).isAccepted)
    }
}

@Suite struct `The replicated state` {
    @Test func `survives a snapshot unchanged`() throws {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        log.run(.drain(osk, isDrained: true))
        log.run(.suspect(osk, log.life(osk)))
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
    }

    @Test func `refuses a snapshot that is cut short`() {
        let bytes = Log().state.encoded
        for length in stride(from: 0, to: bytes.count, by: 7) {
            #expect(throws: CodecError.self) { try ClusterState(decoding: Array(bytes[..<length])) }
        }
    }

    @Test func `refuses times that break a relation (rule L13)`() {
        let log = Log()
        log.configure()
        var policy = log.state.policy
        policy.timing.leaseDuration = .milliseconds(500)
        #expect(!log.run(.configure(policy, text: "", expectedIndex: log.state.policyIndex)).isAccepted)
        #expect(log.state.policy.timing == .standard)
    }

    @Test func `refuses a configuration that was read before another was applied (ConfigLinear)`() {
        let log = Log()
        log.configure()
        let policy = log.state.policy
        #expect(!log.run(.configure(policy, text: "", expectedIndex: .zero)).isAccepted)
        #expect(log.run(.configure(policy, text: "", expectedIndex: log.state.policyIndex)).isAccepted)
    }

    @Test func `a refusal says what it is by its case, whatever its words (ConfigLinear)`() {
        let log = Log()
        log.configure()
        let refused = log.run(.configure(log.state.policy, text: "", expectedIndex: .zero))
        #expect(refused == .refused(.changedMeanwhile(inForce: log.state.policyIndex, expected: .zero)))
    }
}
