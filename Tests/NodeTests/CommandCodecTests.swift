import Basis
import Foundation
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let tok = NodeID(1)
private let osk = NodeID(2)
private let life = Incarnation(3)
private let epoch = Epoch(generation: 1, index: 4)

/// At least one of every case of `Command`: whoever adds one adds it here.
private let examples: [Command] = [
    .bootstrap(clusterID: 5, clusterName: "prod", node: StateLog.about("tok-1")),
    .addNode(StateLog.about("wit-1", isWitness: true)),
    .admit(tok, bootID: "boot", mark: mark), .suspect(tok, life), .trust(tok, life, suspectedAt: LogIndex(6)),
    .lost(tok, life, suspectedAt: LogIndex(6)),
    .fenced(tok, life, suspectedAt: LogIndex(6), fencingBeganAfter: LogIndex(7)),
    .configure(ClusterPolicy(name: "prod"), text: "cluster: prod\n", expectedIndex: LogIndex(8)),
    .configure(ClusterPolicy(name: "prod", leaderSites: ["tokyo", "osaka"]), text: "", expectedIndex: LogIndex(8)),
    .absent(orders, tok, life, since: LogIndex(9)),
    .found(
        orders, ClusterState.Finding(node: osk, resource: ResourceName("db"), isRunning: true, reason: "pid 7"), life,
        since: LogIndex(9)),
    .assign(orders, osk, life, replacing: epoch, isTakeover: true, reason: "tok-1 is lost"),
    .release(orders, epoch, target: osk, reason: "asked"), .release(orders, epoch, target: nil, reason: "stopped"),
    .stopped(orders, epoch, failure: nil),
    .stopped(orders, epoch, failure: GroupFailure(resource: ResourceName("db"), reason: "exit 1", isFatal: true)),
    .started(orders, epoch), .dropped(orders, epoch, version: 10), .leaves(data, epoch, version: 11, osk),
    .joins(data, epoch, version: 11, osk, copy: 12),
    .opens(data, epoch, version: 11, inSync: [tok, osk], copies: [12, 13]),
    .copy(
        data, volume: 14, osk, CopyMark(identity: 12, starts: [15, 16], epoch: epoch, isNoted: true), capacityBytes: 17,
        against: CopyKnowledge(mark: 18, epoch: epoch), boot: "boot"),
    .setNode(
        osk,
        NodeChange(
            role: .observer, site: "osaka", address: "10.0.0.9:7400", labels: [NodeLabel(name: "rack", value: "a1")])),
    .setNode(osk, NodeChange()), .retire(osk, isRetiring: true), .replaceNode(osk, StateLog.about("osk-1")),
    .expel(osk, life),
    .recovered(
        RecoveryPlan(
            generation: Generation(number: 2, recovery: 21), base: Generation(number: 1, recovery: 22),
            coordinator: tok,
            survivors: [tok], dead: [osk], statement: "osk-1 is off", startsGroups: true)),
    .raise(FeatureLevel(3), counting: [tok, osk]),
    .changeAuthority(
        .begin(
            present: .init(fingerprint: [1], certificate: "PEM"), next: .init(fingerprint: [2], certificate: "another"))
    ),
    .changeAuthority(.without([2], [osk])), .changeAuthority(.cancel([2])),
    .expectPause(osk, Incarnation(7), .milliseconds(20_000)),
    .duplicated(osk, [Twin(bootID: "boot", host: "10.0.0.9", fingerprint: [1, 2])], after: LogIndex(7)),
    .original(osk, bootID: "boot"),
    .certified(
        tok,
        CertificateRecord(
            fingerprint: [1, 2], authority: [3], validity: Validity(from: 4, until: 5), trusts: [[6], [3]], keys: [[3]],
            trouble: KeptWords("nobody is there"))), .lacks(data, volume: 14, osk, copy: 12),
    .yields(data, epoch, version: 11), .compare(data),
    .allowRepair(data, epoch, statement: "a person"), .want(orders, isRunning: true), .move(orders, to: osk),
    .drain(osk, isDrained: true), .note("the switch was restarted", about: osk),
    .note("the provider was called", about: nil),
    .depart(osk, life, isDeparting: true), .remark(osk, life, mark: mark),
    .park(orders, epoch, seenAt: LogIndex(19), reason: "it fails everywhere"), .forgive(orders, osk, since: 20),
    .restarted(orders, epoch, ResourceName("db"), reason: "exit 1"),
    .restarted(orders, epoch, nil, reason: "the lease ended"),
    .acceptLoss(data, epoch, version: 11, osk, statement: "a person"),
    .declareAbsent(orders, nodes: [tok, osk], since: LogIndex(9), statement: "a person"),
    .remains(orders, osk, life, GroupRemains(kind: .unstopped, reason: "could not stop db")),
    .remains(orders, osk, life, nil),
    .confirmStopped(orders, osk, statement: "a person"),
    .putAttribute(AttributeKey(.cluster, "app.primary"), value: "tok-1", lifetime: .forever),
    .putAttribute(AttributeKey(.node(osk), "rack"), value: "", lifetime: .boot(life), expecting: .absent),
    .putAttribute(
        AttributeKey(.cluster, "app.primary"), value: "osk-1", lifetime: .forever, expecting: .version(LogIndex(21))),
    .deleteAttribute(AttributeKey(.node(osk), "rack")),
    .deleteAttribute(AttributeKey(.cluster, "app.primary"), expecting: .value("tok-1")),
]

private let mark = StartMark(directory: DirectoryID(high: 1, low: 2), start: 3, draw: 4, nonce: 5)

@Suite struct `The bytes of commands` {
    @Test(arguments: examples) func `every command is read as it was written`(command: Command) throws {
        let entry = LogCommand(
            origin: osk, nonce: 1, sequence: 2, clusterMilliseconds: 3, wallMilliseconds: 4, command: command)
        #expect(try LogCommand(decoding: entry.encoded) == entry)
    }

    @Test(arguments: examples) func `a command that is cut short is refused`(command: Command) {
        let entry = LogCommand(
            origin: osk, nonce: 1, sequence: 2, clusterMilliseconds: 3, wallMilliseconds: 4, command: command)
        let bytes = entry.encoded
        for length in 0..<bytes.count {
            #expect(throws: CodecError.self) { try LogCommand(decoding: Array(bytes[..<length])) }
        }
    }

    @Test func `there is an example of every command`() throws {
        let path = "\(#filePath)".replacing(
            "Tests/NodeTests/CommandCodecTests.swift", with: "Sources/Node/Cluster/Commands/Command.swift")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let body = try #require(text.split(separator: "public indirect enum Command").last).prefix { $0 != "}" }
        let cases = body.split(separator: "\n").compactMap { line -> String? in
            guard line.hasPrefix("    case ") else { return nil }
            return String(line.dropFirst("    case ".count).prefix { $0.isLetter })
        }
        #expect(cases.count > 30)
        let shown = Set(examples.map { String("\($0)".prefix { $0.isLetter }) })
        let missing = cases.filter { !shown.contains($0) }
        #expect(missing.isEmpty, "no example of \(missing.joined(separator: ", ")) is read back")
    }
}
