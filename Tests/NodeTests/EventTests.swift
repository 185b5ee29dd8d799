import Basis
import Foundation
import Raft
import Reports
import Resources
import Testing

@testable import Cluster

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let database = ResourceName("db")
private let tok = NamedNode(NodeID(1), "tok-1")
private let osk = NamedNode(NodeID(2), "osk-1")
private let epoch = Epoch(generation: 0, index: 7)
private let words = KeptWords("it was so")

/// What happens is a value: known by a stable name, weighed, worded in one place, and readable for ever.
@Suite struct EventTests {
    /// One of each, with its name, its weight, the rule behind it, and what people read.
    private static let samples: [(happening: Happening, name: String, severity: Severity, sentence: String)] =
        cluster + nodes + groups + volumes + [
            (
                .told(EarlierWords(words: KeptWords("osk-1 is up"), rule: EventRule("L8"), group: orders, node: osk)),
                "told", .info, "osk-1 is up (L8)"
            )
        ]

    private static let cluster: [(Happening, String, Severity, String)] = [
        (.cluster(.founded("prod", by: tok)), "cluster.founded", .info, "tok-1 founded the cluster prod (B1)"),
        (
            .cluster(.raised(FeatureLevel(2))), "cluster.raised", .info,
            "the cluster is at feature level 2: every node can do it (U1)"
        ),
        (
            .cluster(.authorityComes(words)), "cluster.authority-comes", .info,
            "another authority (it was so) is to take the place of the present one: every node is to trust it (operator)"
        ),
        (
            .cluster(.authorityTrusted(words)), "cluster.authority-trusted", .info,
            "the authority it was so is trusted: every node gets a certificate of it (I2)"
        ),
        (
            .cluster(.authorityExchanged(words)), "cluster.authority-exchanged", .info,
            "every node has a certificate of the authority it was so: the one before is trusted no more (I2)"
        ),
        (
            .cluster(.authorityStays(words)), "cluster.authority-stays", .info,
            "the authority it was so does not come after all (operator)"
        ),
        (.cluster(.configured), "cluster.configured", .info, "the configuration was changed (apply)"),
        (
            .cluster(.noted(words, about: osk)), "cluster.noted", .info,
            "an operator notes about osk-1: it was so (operator)"
        ),
        (.cluster(.noted(words, about: nil)), "cluster.noted", .info, "an operator notes: it was so (operator)"),
    ]

    private static let nodes: [(Happening, String, Severity, String)] = [
        (.joined(site: "tokyo"), "node.joined", .info, "tok-1 joined, at tokyo (B1)"),
        (
            .joinedAgain(site: "tokyo"), "node.joined-again", .info,
            "tok-1 joined again, at tokyo; it was never up before (N2)"
        ),
        (.up, "node.up", .info, "tok-1 is up (L8)"),
        (
            .upWithNewLog, "node.up-with-new-log", .warning,
            "tok-1 is back with a new log and starts a new life (E2) (E2)"
        ),
        (.silent, "node.silent", .warning, "tok-1 is silent: a majority hears nothing from it (L7)"),
        (.heardAgain, "node.heard-again", .info, "tok-1 is heard again (L4)"),
        (.lost(.leaseEnded), "node.lost", .error, "tok-1 is lost: its lease has certainly ended (L6)"),
        (.lost(.fenced), "node.lost", .error, "tok-1 is lost: a fence device confirmed it (L14)"),
        (.drained, "node.drained", .info, "tok-1 is drained: its groups move away (operator)"),
        (.undrained, "node.undrained", .info, "tok-1 is no longer drained (operator)"),
        (.role(.observer), "node.role", .info, "tok-1 is an observer now (operator)"),
        (.site("osaka"), "node.site", .info, "tok-1 is at osaka now (operator)"),
        (.address("h:1"), "node.address", .info, "tok-1 is reached at h:1 now (operator)"),
        (.labelled, "node.labelled", .info, "tok-1 has other labels (operator)"),
        (.retires, "node.retires", .info, "tok-1 is to leave the cluster for good (operator)"),
        (.kept, "node.kept", .info, "tok-1 stays in the cluster (operator)"),
        (.left, "node.left", .info, "tok-1 has left the cluster for good (J2)"),
        (.replaced, "node.replaced", .info, "another machine takes the place of tok-1 (J3)"),
        (.shutsDown, "node.shuts-down", .info, "tok-1 shuts down: what it runs moves or stops (L21)"),
        (.stays, "node.stays", .info, "tok-1 stays (L21)"),
        (
            .pauseExpected(.seconds(20)), "node.pause-expected", .info,
            "tok-1 is expected to pause, for 20 s at most: its silence is waited for (L22)"
        ),
        (
            .authorityWithout, "node.authority-without", .warning,
            "the exchange of the authority goes on without tok-1: unless it comes in time, it has to join anew (operator)"
        ),
        (
            .duplicated([Twin(bootID: "0123456789", host: "10.0.0.9", fingerprint: [1])]), "node.duplicated", .error,
            "several machines say that they are tok-1 (10.0.0.9, boot 01234567): none of them runs anything until "
                + "`holdfast node original tok-1 --boot BOOT` says which one it is (E5)"
        ),
        (
            .original(Twin(bootID: "0123456789", host: "10.0.0.9", fingerprint: [1])), "node.original", .info,
            "tok-1 is the machine at 10.0.0.9, boot 01234567; it gets another key, and the others no way in (E5)"
        ),
        (
            .singled, "node.singled", .info,
            "tok-1 is one machine again; what shows its former certificates is not let in (E5)"
        ),
        (.pauseOver, "node.pause-over", .info, "no pause of tok-1 is expected any more (L22)"),
        (
            .certificateRenewed(until: 1_800_000_000), "node.certificate-renewed", .info,
            "tok-1 has another certificate, until 2027-01-15 (I1)"
        ),
        (
            .certificateStuck(until: 1_800_000_000, words), "node.certificate-stuck", .warning,
            "the certificate of tok-1 is for use until 2027-01-15, and it could not get another one: it was so (I1)"
        ),
    ].map { (happening: NodeHappening, name, severity, sentence) in (.node(tok, happening), name, severity, sentence) }

    private static let finding = ClusterState.Finding(
        node: osk.id, resource: database, isRunning: true, reason: "pid 4")
    private static let kept = GroupRemains(kind: .unkilled, reason: "still has processes [444]")
    private static let used = GroupRemains(kind: .unstopped, reason: "cannot stop db")

    private static let groups: [(Happening, String, Severity, String)] = [
        (
            .found(finding, on: osk), "group.found", .warning,
            "orders waits: osk-1 runs db already, outside of Holdfast (pid 4) (B2)"
        ),
        (
            .absenceSigned(on: [tok, osk], statement: words), "group.absence-signed", .info,
            "an operator signed that nothing of orders runs on tok-1, osk-1: it was so (B2)"
        ),
        (
            .assigned(to: osk, epoch, isTakeover: false, reason: words), "group.assigned", .info,
            "orders is assigned to osk-1: it was so (plan)"
        ),
        (
            .assigned(to: osk, epoch, isTakeover: true, reason: words), "group.assigned", .info,
            "orders is assigned to osk-1: it was so (immediate)"
        ),
        (
            .released(on: tok, epoch, reason: words), "group.released", .info,
            "stopping orders on tok-1: it was so (plan)"
        ),
        (.started(on: osk, epoch), "group.started", .info, "orders runs on osk-1 (L1)"),
        (
            .restarted(on: osk, epoch, database, reason: words), "group.restarted", .warning,
            "orders/db it was so and is started again on osk-1 (restart)"
        ),
        (
            .restarted(on: osk, epoch, nil, reason: words), "group.restarted", .warning,
            "orders stopped because it was so, and is started again on osk-1 (restart)"
        ),
        (
            .gaveUp(on: osk, epoch, database, reason: words), "group.gave-up", .error,
            "orders gave up on osk-1: db it was so (restart)"
        ),
        (.stopped(on: osk, epoch), "group.stopped", .info, "orders stopped on osk-1 (L11)"),
        (.parked(reason: words), "group.parked", .error, "orders is parked: it was so (NoFlap)"),
        (
            .mayRunAgain(on: osk), "group.may-run-again", .info,
            "orders may run on osk-1 again: its failure there is long ago (restart)"
        ),
        (.wantedRunning, "group.wanted-running", .info, "an operator wants orders running (operator)"),
        (.wantedStopped, "group.wanted-stopped", .info, "an operator wants orders stopped (operator)"),
        (.moveWanted(to: osk), "group.move-wanted", .info, "an operator moves orders to osk-1 (operator)"),
        (
            .remains(on: tok, kept), "group.remains", .warning,
            "tok-1 still has processes [444] of orders (L12)"
        ),
        (.remains(on: tok, used), "group.remains", .warning, "tok-1 cannot stop db of orders (L11)"),
        (.remainsOver(on: tok), "group.remains-over", .info, "nothing of orders is left on tok-1 any more (L12)"),
        (
            .stopSigned(on: tok, statement: words), "group.stop-signed", .info,
            "an operator signed that nothing of orders is left on tok-1: it was so (L11)"
        ),
    ].map { (happening: GroupHappening, name, severity, sentence) in
        (.group(orders, happening), name, severity, sentence)
    }

    private static let volumes: [(Happening, String, Severity, String)] = [
        (
            .leftSet(osk, epoch), "volume.left-set", .warning,
            "data: osk-1 left the in-sync set; its copy may not be promoted (V3)"
        ),
        (.joinedSet(osk, epoch), "volume.joined-set", .info, "data: osk-1 holds every write again (V5)"),
        (
            .keptWrites([tok, osk], epoch), "volume.kept-writes", .info,
            "data: tok-1, osk-1 kept every write through the promotion (V7)"
        ),
        (
            .yielded(from: tok, to: [osk], epoch), "volume.yielded", .warning,
            "data: the copy on tok-1 lacks writes; those on osk-1 count instead (V19)"
        ),
        (
            .copyLost(on: osk, reason: words, wasInSync: false), "volume.copy-lost", .warning,
            "data: osk-1 has no usable copy (it was so) (V20)"
        ),
        (
            .copyLost(on: osk, reason: words, wasInSync: true), "volume.copy-lost", .warning,
            "data: osk-1 has no usable copy (it was so); it left the in-sync set, and a new copy is compared as a whole (V20)"
        ),
        (
            .lossAccepted(osk, statement: words), "volume.loss-accepted", .warning,
            "an operator signed for data: it was so (V8)"
        ),
        (
            .repairAllowed(statement: words), "volume.repair-allowed", .info,
            "an operator allowed a repair of data: it was so (V22)"
        ),
    ].map { (happening: VolumeHappening, name, severity, sentence) in
        (.volume(data, happening), name, severity, sentence)
    }

    private static func event(_ happening: Happening, asker: NamedNode? = nil) -> ClusterEvent {
        ClusterEvent(index: LogIndex(9), wallMilliseconds: 5, happening: happening, asker: asker)
    }

    @Test func `every event goes by its name, with its weight, its rule and its sentence`() {
        for sample in Self.samples {
            #expect(sample.happening.identifier == sample.name)
            #expect(sample.happening.severity == sample.severity, "\(sample.name)")
            let event = Self.event(sample.happening)
            #expect("\(event.sentence) (\(event.rule.rawValue))" == sample.sentence)
        }
    }

    @Test func `a rule that an event names is in the law, or is a word that people know`() throws {
        let law = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/protocols.md"),
            encoding: .utf8)
        for rule in Set(Self.samples.map(\.happening.rule.rawValue)) {
            let isWord = ["operator", "apply", "plan", "immediate", "restart", "NoFlap"].contains(rule)
            #expect(isWord || law.contains("**\(rule)"), "\(rule)")
        }
    }

    @Test func `every event comes out of a snapshot as it went in`() throws {
        var state = ClusterState()
        let events = Self.samples.map { Self.event($0.happening, asker: $0.happening.isAsked ? osk : nil) }
        state.events = events[...]
        let decoded = try ClusterState(decoding: state.encoded)
        #expect(decoded.events == state.events)
        #expect(decoded == state)
    }

    @Test func `bytes that no build writes are refused`() {
        for sample in Self.samples {
            var writer = ByteWriter(reserving: 64)
            Self.event(sample.happening).encode(into: &writer)
            for length in writer.bytes.indices {
                #expect(throws: CodecError.self, "\(sample.name), \(length) bytes") {
                    var reader = ByteReader(Array(writer.bytes[..<length]))
                    _ = try ClusterEvent.decode(from: &reader)
                }
            }
            // The subject, behind index, wall clock and the asker that is not there.
            var bytes = writer.bytes
            bytes[17] = 9
            #expect(throws: CodecError.self) {
                var reader = ByteReader(bytes)
                _ = try ClusterEvent.decode(from: &reader)
            }
        }
    }

    @Test func `what a person asked for or signed says where, and nothing else does`() {
        let asked = Self.samples.filter(\.happening.isAsked).map(\.name)
        #expect(
            Set(asked) == [
                "cluster.configured", "cluster.raised", "cluster.noted", "cluster.authority-comes",
                "cluster.authority-stays",
                "node.authority-without", "node.drained", "node.undrained", "node.role",
                "node.site",
                "node.address",
                "node.original", "node.labelled", "node.retires", "node.kept", "node.pause-expected", "node.pause-over",
                "group.absence-signed",
                "group.wanted-running", "group.wanted-stopped", "group.move-wanted", "group.stop-signed",
                "volume.loss-accepted", "volume.repair-allowed",
            ])
        let log = StateLog()
        log.configure()
        log.run(.declareAbsent(orders, nodes: [osk.id], since: log.search, statement: "I looked"), from: osk.id)
        let event = log.state.events.last
        #expect(event?.asker == osk)
        #expect(
            event?.sentence == "an operator signed that nothing of orders runs on osk-1: I looked, asked on osk-1")
        log.run(.drain(tok.id, isDrained: true), from: osk.id)
        #expect(log.state.events.last?.asker == osk)
        #expect(log.state.events.first { $0.happening.identifier == "node.up" }?.asker == nil)
    }

    @Test func `an event is readable when its node has another name, or is gone`() throws {
        let log = StateLog()
        log.lose(osk.id)
        log.state.nodes.removeAll { $0.id == osk.id }
        log.state.nodes[0].about.name = "kyo-1"
        log.state = try ClusterState(decoding: log.state.encoded)
        let sentences = log.state.events.map(\.sentence)
        #expect(sentences.first == "tok-1 founded the cluster prod")
        #expect(sentences.last == "osk-1 is lost: its lease has certainly ended")
        let report = try #require(log.state.events.last.map { EventReport($0) })
        #expect(report.node == "osk-1" && report.nodeID == 2 && report.kind == "node.lost")
    }

    @Test func `words of others are one line without control characters before they are kept`() {
        let log = StateLog()
        log.configure()
        log.declareAbsent()
        log.assign(tok.id)
        let reason = "exit\u{1B}[2J\n1 " + String(repeating: "x", count: 3000)
        log.run(.restarted(orders, log.epoch, database, reason: reason))
        guard case .group(orders, .restarted(tok, log.epoch, database, let kept)) = log.state.events.last?.happening
        else {
            Issue.record("\(String(describing: log.state.events.last))")
            return
        }
        #expect(kept.text.hasPrefix(#"exit\x1b[2J\x0a1 xxx"#) && kept.text.hasSuffix("…"))
        #expect(kept.text.unicodeScalars.count == KeptWords.lengthMaximum)
        #expect(log.state.events.last?.sentence.unicodeScalars.count == KeptWords.lengthMaximum)
    }

    @Test func `programs get what an event names by itself`() {
        let reports = Self.samples.map { EventReport(Self.event($0.happening, asker: tok)) }
        for (report, sample) in zip(reports, Self.samples) {
            #expect(report.kind == sample.name && report.severity == sample.severity.name)
            #expect(report.asker == .init(id: 1, name: "tok-1"))
            #expect(report.node == nil || report.nodeID != nil)
        }
        func report(_ kind: String) -> EventReport? { reports.first { $0.kind == kind } }
        #expect(report("group.gave-up")?.resource == "db" && report("group.gave-up")?.reason == "it was so")
        #expect(report("group.assigned")?.epoch == "7" && report("group.assigned")?.nodeID == 2)
        #expect(report("volume.yielded")?.volume == "data")
        #expect(report("volume.yielded")?.otherNodes == [.init(id: 2, name: "osk-1")])
        #expect(report("volume.loss-accepted")?.statement == "it was so")
        #expect(report("cluster.configured")?.node == nil)
    }

    @Test func `a group is explained by what happened to its volumes, whatever the sentence begins with`() throws {
        let log = StateLog()
        log.configure()
        log.state.note(.volume(data, .lossAccepted(osk, statement: words)), at: log.next)
        log.state.note(.volume(VolumeName("other"), .lossAccepted(osk, statement: words)), at: log.next)
        let trio = try Trio()
        var view = try #require(trio.view(of: NodeID(1)))
        view.supervisor.state = log.state
        let report = Explainer(StatusBuilder(view)).report("orders")
        #expect(report?.events.compactMap(\.volume) == ["data"])
    }
}
