import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

/// What cores tell people is a value: counted by its name, weighed by its severity, worded in one place.
@Suite struct NoteTests {
    private static let group = GroupName("web")
    private static let volume = VolumeName("data")
    private static let app = ResourceName("app")
    private static let mark = StartMark(directory: DirectoryID(high: 1, low: 2), start: 3, nonce: 4)

    /// One of each, with the name that counters and alerts know it by. A name that changes breaks them.
    private static let ownNotes: [(Note, String)] =
        [
            (.refused(LogIndex(5), .repeated), "log.refused"),
            (.refusedCommand(from: NodeID(2), .over("the epoch is over")), "log.refused-command"),
            (.refusedRelay(via: NodeID(2), for: NodeID(3)), "log.refused-relay"),
            (.unreadable("entry 3/7 cannot be read"), "log.unreadable"),
            (.distrusts(NodeID(2), .malformed("it is empty")), "log.distrusts"),
            (.caughtUp(LogIndex(5)), "log.caught-up"), (.diskFailed, "log.disk-failed"),
            (.snapshotFailed(LogMark(term: Term(2), index: LogIndex(9)), reason: "it is full"), "log.snapshot-failed"),
            (.slowStep(.milliseconds(70)), "loop.slow-step"),
            (.lostItsLog(NodeID(2)), "mark.lost-its-log"),
            (.doesNotRemember(NodeID(2), mark), "mark.does-not-remember"),
            (.askedTooFarBack(by: NodeID(2), mark), "mark.asked-too-far-back"),
            (.isStranger(askedBy: NodeID(2), mark, own: mark.directory), "mark.is-stranger"),
            (.newMark(mark), "mark.new"), (.twoLives(NodeID(2)), "life.two"),
            (.awaitsEndOfLife(NodeID(2)), "life.awaits-end"), (.leaseHeld(until: .zero), "lease.held"),
            (.leaseEnded, "lease.ended"), (.leaseGivenBack, "lease.given-back"),
            (.clocksParted, "lease.clocks-parted"), (.doubtEnded, "lease.doubt-ended"),
            (.lifeIsOver(says: NodeID(2)), "lease.life-is-over"),
            (.moreTimePassed(says: NodeID(2), end: .zero), "lease.more-time-passed"),
            (.starts(group, .none), "group.starts"), (.stopsLeftovers(group), "group.stops-leftovers"),
            (.adopts(group, .none), "group.adopts"), (.confirmedStopped(group), "group.confirmed-stopped"),
            (.renews(.server(volume)), "helper.renews"),
            (.noCopy(volume, reason: "it is gone"), "volume.no-copy"),
            (.copyOutdated(volume, reason: "it is behind"), "volume.copy-outdated"),
            (.copyTakenBack(volume, reason: "it went back"), "volume.copy-taken-back"),
            (.serverFailed(volume, reason: "no disk"), "volume.server-failed"),
            (.serverSays(volume, "hello"), "volume.server-says"),
        ]

    private static var notes: [(Note, String)] {
        let groups = self.groupNotes.map { (Note.group(self.group, $0.0), $0.1) }
        return self.ownNotes + groups + self.consensusNotes.map { (Note.consensus($0.0), $0.1) }
    }

    private static let groupNotes: [(GroupNote, String)] = [
        (.newConfiguration(starting: [app]), "group.new-configuration"),
        (.givesUp(app, reason: "ended"), "group.gives-up"),
        (.restarts(app, reason: "ended", count: 1, limit: 3), "group.restarts"),
        (.stopFailed(app, reason: "exit 1"), "group.stop-failed"),
        (.waitsForVolume(app, reason: "killed"), "group.waits-for-volume"),
    ]

    private static let consensusNotes: [(ConsensusNote, String)] = [
        (.stepsDown(Term(2)), "consensus.steps-down"), (.follows(NodeID(1), Term(2)), "consensus.follows"),
        (.asksForPreVotes(Term(2)), "consensus.asks-for-pre-votes"),
        (.campaigns(Term(2), afterTransfer: true), "consensus.campaigns"),
        (.lostElection(Term(2)), "consensus.lost-election"), (.leads(Term(2)), "consensus.leads"),
        (.heardNoMajority(.seconds(1)), "consensus.heard-no-majority"),
        (.cutsLog(.zero), "consensus.cuts-log"), (.changesVoters([NodeID(1)]), "consensus.changes-voters"),
        (.leavesVoters, "consensus.leaves-voters"),
        (.sendsSnapshot(.zero, to: NodeID(2)), "consensus.sends-snapshot"),
        (.installsSnapshot(.zero), "consensus.installs-snapshot"),
        (.handsOver(to: NodeID(2)), "consensus.hands-over"),
        (.goesOnLeading(insteadOf: NodeID(2)), "consensus.goes-on-leading"),
        (.declinesToLead(from: NodeID(2), needed: .zero), "consensus.declines-to-lead"),
        (.diskFailed, "consensus.disk-failed"),
    ]

    @Test func `every note goes by the name that it had, and no two by one`() {
        for (note, name) in Self.notes { #expect(note.identifier == name) }
        #expect(Set(Self.notes.map(\.1)).count == Self.notes.count)
    }

    @Test func `what happens to an attached volume has names and weights of its own`() {
        let notes = [VolumeDeviceNote.grown(from: 1, to: 2), .requestsFail(3, after: .seconds(10))]
        #expect(notes.map(\.identifier) == ["device.grown", "device.requests-fail"])
        #expect(notes.map(\.severity) == [.info, .error])
        #expect(notes[0].description.contains("from 1 to 2 bytes"))
    }

    @Test func `every note has words of its own, and what it names is in them`() throws {
        let trio = try Trio()
        let state = try #require(trio.supervisors[NodeID(1)]).state
        let sentences = Self.notes.map { $0.0.sentence(state) }
        #expect(Set(sentences).count == sentences.count)
        for (note, sentence) in zip(Self.notes, sentences) {
            #expect(!sentence.isEmpty && sentence.last != ".")
            if case .group = note.0 { #expect(sentence.hasPrefix("web")) }
            if note.1.hasPrefix("volume.") { #expect(sentence.hasPrefix("volume data: ")) }
        }
    }

    @Test func `an alarm is an error, and what ends a lease or a group is no ordinary progress`() throws {
        let trio = try Trio()
        let state = try #require(trio.supervisors[NodeID(1)]).state
        for (note, _) in Self.notes where note.sentence(state).hasPrefix("ALARM") { #expect(note.severity == .error) }
        #expect(Note.leaseEnded.severity == .warning)
        #expect(Note.group(Self.group, .givesUp(Self.app, reason: "")).severity == .error)
        #expect(Note.leaseHeld(until: .zero).severity == .info)
        #expect(Severity.info < .warning && Severity.warning < .error)
    }

    @Test func `a supervisor says by value that its lease ended`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let node = try #require(trio.owner)
        for other in Trio.ids where other != node { trio.stopped.insert(other) }
        trio.pass(milliseconds: 5000)
        #expect(trio.notes.contains("\(node): the lease ended"))
    }
}
