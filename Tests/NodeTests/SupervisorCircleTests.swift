import Basis
import Raft
import Resources
import Testing

@testable import Cluster

/// Seven nodes that vote and three that do not.
private final class Wide {
    let trio: Trio
    /// Who sent a ping or a summary to whom, since it was emptied.
    var told: Set<[NodeID]> = []

    init() throws {
        self.trio = try Trio(others: ["c", "d", "e", "f", "g", "h", "i"])
        self.trio.pass(milliseconds: 12_000)
        #expect(self.membership.voters.count == 7 && !self.membership.isJoint)
        self.trio.isLost = { [unowned self] envelope in
            switch envelope.message {
            case .ping, .summary: self.told.insert([envelope.from, envelope.to])
            default: break
            }
            return false
        }
    }

    var membership: Membership { self.trio.supervisors[NodeID(1)]?.consensus.membership ?? Membership(voters: []) }
    var voters: [NodeID] { self.membership.voters }
    var others: [NodeID] { self.trio.ids.filter { !self.voters.contains($0) } }

    /// Lets time pass, and says who told whom meanwhile.
    func listen(milliseconds: UInt64) -> Set<[NodeID]> {
        self.told = []
        self.trio.pass(milliseconds: milliseconds)
        return self.told
    }

    func circle(of node: NodeID) -> [NodeID] { self.trio.supervisors[node]?.circle(at: self.trio.tick) ?? [] }

    /// What a node knows of another, and how old that is.
    func age(of other: NodeID, on node: NodeID) -> Span? {
        self.trio.supervisors[node]?.summaries.first { $0.node == other }.map { self.trio.tick.since($0.receivedAt) }
    }
}

@Suite struct `Whom a node tells how it stands (J7)` {
    @Test func `between two nodes without a vote nothing flows by itself, and with a voter all does`() throws {
        let wide = try Wide()
        let told = wide.listen(milliseconds: 3000)
        for from in wide.trio.ids {
            for to in wide.trio.ids where from != to {
                let isAmongOthers = wide.others.contains(from) && wide.others.contains(to)
                #expect(told.contains([from, to]) == !isAmongOthers, "\(from) to \(to)")
            }
        }
    }

    @Test func `who follows no leader tells everybody, and none is told because of an election`() throws {
        let wide = try Wide()
        let others = wide.others
        let (alone, other) = (others[0], others[1])
        for voter in wide.voters { wide.trio.cut(alone, voter) }
        #expect(!wide.listen(milliseconds: 2500).contains([alone, other]), "an election does not take longer")
        #expect(wide.listen(milliseconds: 3000).contains([alone, other]))
        wide.trio.cuts.removeAll()
        wide.trio.pass(milliseconds: 3000)
        #expect(!wide.listen(milliseconds: 2000).contains([alone, other]))
    }

    @Test func `who hears a release from before this rule does as that does`() throws {
        let wide = try Wide()
        let others = wide.others
        func tell(_ message: NodeMessage, via: NodeID) throws {
            let mark = try #require(wide.trio.supervisors[others[1]]?.identity.memory.present)
            let envelope = Envelope(
                from: others[1], to: others[0], isRelayed: via != others[1], mark: mark, message: message)
            wide.trio.step(others[0], .receive(envelope, via: via))
        }
        var summary = try #require(wide.trio.supervisors[others[1]]).summary(at: wide.trio.tick)
        // A relay speaks only for who was not heard directly for a while.
        wide.trio.pass(milliseconds: 4000)
        let said = summary.programs
        summary.programs = nil
        try tell(.summary(summary), via: wide.voters[0])
        #expect(wide.circle(of: others[0]) == wide.voters, "what comes through a third node never says it")
        summary.programs = said
        try tell(.summary(summary), via: others[1])
        #expect(wide.circle(of: others[0]) == wide.voters, "it says what it runs")
        summary.programs = nil
        try tell(.summary(summary), via: others[1])
        #expect(wide.circle(of: others[0]).count == wide.trio.ids.count - 1)
        #expect(wide.listen(milliseconds: 1500).contains([others[0], others[1]]))
        wide.trio.pass(milliseconds: 3000)
        #expect(wide.circle(of: others[0]) == wide.voters)
    }

    @Test func `an empty log names no voters, so everybody that is named beside it is told`() throws {
        let seeds = [NodeID(2), NodeID(3)]
        let supervisor = try Supervisor(
            identity: .init(node: NodeID(9), bootID: "boot", memory: Trio.memory(9), nonce: 9, seeds: seeds),
            settings: Consensus.Settings(), restored: RestoredState(), facts: nil, leaseEnd: .zero, seed: 9,
            at: .zero + .seconds(1))
        #expect(supervisor.circle(at: .zero + .seconds(1)) == seeds)
    }
}

@Suite struct `A node that hears not all of them (J7)` {
    @Test func `learns of a voter how the others stand when somebody asks it`() throws {
        let wide = try Wide()
        let (asked, other) = (wide.others[0], wide.others[1])
        wide.trio.pass(milliseconds: 5000)
        #expect(try #require(wide.trio.supervisors[asked]).hearsNotAll(at: wide.trio.tick))
        #expect(wide.age(of: other, on: asked).map { $0 > .seconds(3) } ?? true)
        wide.trio.step(asked, .client(id: 77, .gather))
        wide.trio.pass(milliseconds: 25)
        #expect(wide.trio.replies[77] == .gathered)
        for node in wide.trio.ids where node != asked {
            #expect(wide.age(of: node, on: asked).map { $0 < .milliseconds(1300) } == true, "\(node)")
        }
        let known = wide.trio.supervisors[asked]?.summaries.first { $0.node == other }?.summary
        #expect(known?.programs?.daemon == .present, "the level of the cluster is raised by it (U1)")
    }

    @Test func `is not kept waiting by a voter that does not answer, nor where there is nothing to ask`() throws {
        let wide = try Wide()
        let asked = wide.others[0]
        wide.trio.isLost = { envelope in
            if case .standings = envelope.message { true } else { false }
        }
        wide.trio.step(asked, .client(id: 77, .gather))
        wide.trio.pass(milliseconds: 400)
        #expect(wide.trio.replies[77] == nil)
        wide.trio.pass(milliseconds: 200)
        #expect(wide.trio.replies[77] == .gathered)
        wide.trio.step(wide.voters[0], .client(id: 78, .gather))
        #expect(wide.trio.replies[78] == .gathered, "it hears everybody")
    }

    @Test func `believes what it heard itself later than what it is told`() throws {
        let wide = try Wide()
        let (asked, other) = (wide.others[0], wide.voters[0])
        let supervisor = try #require(wide.trio.supervisors[asked])
        var telling = supervisor.telling
        var summary = try #require(wide.trio.supervisors[other]).summary(at: wide.trio.tick)
        telling.received(summary, from: other, isDirect: true, at: wide.trio.tick)
        summary.appliedIndex = LogIndex(1)
        telling.passedOn(Standing(node: other, age: .milliseconds(1), summary: summary), at: wide.trio.tick)
        #expect(telling.summaries.first { $0.node == other }?.summary.appliedIndex != LogIndex(1))
    }

    @Test func `asks another one without a vote about its machine, through a voter`() throws {
        let wide = try Wide()
        let (asked, other) = (wide.others[0], wide.others[1])
        var vias: [Bool] = []
        wide.trio.isLost = { envelope in
            if case .inspect = envelope.message { vias.append(envelope.isRelayed) }
            return false
        }
        wide.trio.step(asked, .client(id: 77, .inspect(other, [.agent("x")])))
        wide.trio.pass(milliseconds: 100)
        #expect(vias == [true, true], "to the voter, and from there")
        #expect(wide.trio.replies[77] == .inspected([.yes]))
    }

    @Test func `goes by the clocks of those that it hears (I1)`() throws {
        let wide = try Wide()
        for node in wide.trio.ids { wide.trio.supervisors[node]?.wallMilliseconds = 1_800_000_000_000 }
        wide.trio.pass(milliseconds: 2000)
        for node in [wide.others[0], wide.voters[0]] {
            let view = try #require(wide.trio.view(of: node))
            #expect(CertificateClocks(view).agreedSeconds != nil, "\(node)")
        }
        let asked = wide.others[0]
        for voter in wide.voters { wide.trio.cut(asked, voter) }
        wide.trio.pass(milliseconds: 14_000)
        let view = try #require(wide.trio.view(of: asked))
        #expect(CertificateClocks(view).agreedSeconds == nil, "it hears no majority")
    }

    @Test func `these words are read as they were written, and by nobody who speaks the version before`() throws {
        let wide = try Wide()
        let summary = try #require(wide.trio.supervisors[wide.others[0]]).summary(at: wide.trio.tick)
        let standing = Standing(node: wide.others[0], age: .milliseconds(250), summary: summary)
        for message in [NodeMessage.askStandings, .standings([standing])] {
            #expect(message.firstVersion == 2)
            let envelope = Envelope(
                from: NodeID(1), to: NodeID(2), isRelayed: false, mark: .none, message: message)
            #expect(try Envelope(decoding: envelope.encoded(in: 2)) == envelope)
            #expect(throws: CodecError.self) { try Envelope(decoding: envelope.encoded(in: 1)) }
        }
    }
}
