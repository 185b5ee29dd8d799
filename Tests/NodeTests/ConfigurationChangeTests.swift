import Basis
import Foundation
import Raft
import Reports
import Resources
import Testing

@testable import Cluster
@testable import ClusterConfiguration

/// A running cluster that is given another document: what happens is one of the words of docs/configuration-changes.md.
private struct LivingCluster {
    static let document = """
        cluster: prod
        timing: { lease: 2s, grace: 1s, renewal: 200ms, detection: 700ms, clockRateErrorPpm: 1000, guardKill: 500ms,
          daemonRestart: 1s }
        volumes:
          data:
            size: 1GiB
            resyncRate: 50MB/s
            replicas:
              tok-1: { backing: /data.img, address: "10.0.0.1:7410" }
              osk-1: { backing: /data.img, address: "10.0.0.2:7410" }
          spare:
            size: 1GiB
            replicas:
              tok-1: { backing: /spare.img, address: "10.0.0.1:7411" }
              osk-1: { backing: /spare.img, address: "10.0.0.2:7411" }
        groups:
          orders:
            nodes: [tok-1, osk-1]
            takeover: after-lease
            failback: false
            restart: { attempts: 3, window: 10m }
            moves: { maximum: 6, window: 1h }
            resources:
              - { name: disk, agent: volume, volume: data }
              - { name: fs, agent: filesystem, volume: data, mount: /srv/pg, type: ext4, options: noatime, format: never }
              - { name: raw, agent: filesystem, device: /dev/sdb1, mount: /srv/raw }
              - { name: db, agent: exec, command: a, stop: b, check: c, user: d, directory: /e, environment: { F: f },
                  startTimeout: 50s, stopTimeout: 40s, checkInterval: 30s, checkTimeout: 20s }
              - { name: ip, agent: address, address: 10.9.0.100/24, interface: eth0 }
              - { name: web, agent: "ocf:heartbeat:Dummy", checkLevel: 0, state: /run/x, parameters: { name: y } }
        """
    static let nodes = ConfigurationTests.nodes
    static let orders = GroupName("orders")

    var state = ClusterState()
    var runner: GroupRunner
    private var now: UInt64 = 1000

    /// The document is in force, `orders` runs on tok-1, and osk-1 is in sync.
    init() throws {
        let policy = try #require(ConfigurationReader.read(Self.document, knownNodes: Self.nodes).policy)
        let group = try #require(policy.group(Self.orders))
        self.runner = GroupRunner(policy: group, epoch: .none, incarnation: Incarnation(1), firstCall: 1)
        for (place, node) in Self.nodes.enumerated() {
            let about = JoiningNode(
                name: node.name, site: node.site, address: "h:\(place + 1)", role: NodeRole(node.role))
            self.run(
                place == 0 ? .bootstrap(clusterID: 1, clusterName: "prod", node: about) : .addNode(about))
        }
        let mark = StartMark(directory: DirectoryID(high: 1, low: 0), start: 1, nonce: 1)
        for node in self.state.nodes { self.run(.admit(node.id, bootID: "boot-\(node.id)", mark: mark)) }
        for level: UInt32 in [2, 3] { self.run(.raise(FeatureLevel(level), counting: self.state.nodes.map(\.id))) }
        self.run(.configure(policy, text: "", expectedIndex: .zero))
        let since = self.state.group(Self.orders)?.searchedSince ?? .zero
        self.run(.declareAbsent(Self.orders, nodes: self.state.nodes.map(\.id), since: since, statement: "new"))
        self.assign(to: "tok-1")
        self.join("osk-1")
        self.startRunner()
    }

    /// From tok-1, which owns the group, unless only another node may say so.
    @discardableResult mutating func run(_ command: Command) -> Outcome {
        var origin = NodeID(1)
        if case .admit(let node, _, _) = command { origin = node }
        return self.state.apply(
            LogCommand(
                origin: origin, nonce: 1, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0, command: command),
            at: self.state.appliedIndex.next)
    }

    private mutating func accept(_ command: Command) {
        let outcome = self.run(command)
        #expect(outcome == .accepted)
    }

    mutating func assign(to name: String) {
        guard let node = self.state.node(named: name), let group = self.state.group(Self.orders) else { return }
        let command = Command.assign(
            Self.orders, node.id, node.incarnation, replacing: group.epoch, isTakeover: false, reason: "a test")
        self.accept(command)
        self.accept(.started(Self.orders, self.epoch))
    }

    mutating func join(_ name: String) {
        guard let node = self.state.node(named: name)?.id else { return }
        for volume in [VolumeName("data")] {
            let version = self.state.volume(volume)?.version ?? 0
            self.accept(.joins(volume, self.epoch, version: version, node))
        }
    }

    var epoch: Epoch { self.state.group(Self.orders)?.epoch ?? .none }

    /// Steps the runner and answers what it asks with success; the actions of agents in order.
    @discardableResult mutating func play(_ input: GroupRunner.Input) -> [String] {
        var done: [String] = []
        var waiting = [input]
        while !waiting.isEmpty {
            var requests: [GroupRunner.Request] = []
            self.now += 1
            self.runner.step(waiting.removeFirst(), at: Tick(nanoseconds: self.now * 1_000_000), into: &requests)
            for request in requests {
                switch request {
                case .call(let call) where call.action != .monitor:
                    done.append("\(call.action.rawValue) \(call.resource.name)")
                    waiting.append(.agentFinished(id: call.id, .success))
                case .openVolume(let volume): waiting.append(.volumeOpened(volume))
                case .closeVolume(let volume): waiting.append(.volumeClosed(volume))
                default: break
                }
            }
        }
        return done
    }

    private mutating func startRunner() {
        self.play(.resume)
        #expect(self.runner.isUp)
    }

    /// What becomes of another document.
    mutating func effect(of text: String) throws -> String {
        let outcome = ConfigurationReader.read(text, knownNodes: Self.nodes)
        guard let policy = outcome.policy else { return "refused" }
        let before = self.state.policyIndex
        switch self.run(.configure(policy, text: text, expectedIndex: before)) {
        case .refused(.changes(let changes)):
            #expect(self.state.policyIndex == before && !changes.isEmpty)
            #expect(changes.allSatisfy { !$0.remedy.isEmpty && !$0.path.isEmpty })
            return "refused"
        case .refused(let refusal): return "refused without a remedy: \(refusal)"
        case .accepted: break
        }
        for action in Planner.plan(policy: policy, observation: self.state.observation).actions {
            guard case .release(Self.orders, _, _) = action.step else { continue }
            return policy.group(Self.orders) == nil ? "stops" : "moves"
        }
        guard let group = policy.group(Self.orders), !self.runner.agrees(with: group) else { return "at once" }
        let done = self.play(.change(group))
        #expect(self.runner.isUp && self.runner.agrees(with: group))
        return done.isEmpty ? "at once" : "in place"
    }
}

/// One row of docs/configuration-changes.md, with an edit that does it.
private struct Row: CustomTestStringConvertible {
    var key: String
    var change: String
    /// What is replaced in the document by what.
    var edits: [(String, String)]
    var testDescription: String { "\(self.key): \(self.change)" }

    init(_ key: String, _ change: String, _ edits: (String, String)...) {
        self.key = key
        self.change = change
        self.edits = edits
    }

    func edited(_ document: String) throws -> String {
        try self.edits.reduce(document) { text, edit in
            try #require(text.components(separatedBy: edit.0).count == 2, "`\(edit.0)` must be there once")
            return text.replacing(edit.0, with: edit.1)
        }
    }
}

private let copyOnOsaka = "      osk-1: { backing: /data.img, address: \"10.0.0.2:7410\" }\n"
private let copyInTokyo = "      tok-1: { backing: /data.img, address: \"10.0.0.1:7410\" }\n"
private let groupText = "groups:" + (LivingCluster.document.components(separatedBy: "groups:").last ?? "")
private let spareText = """
      spare:
        size: 1GiB
        replicas:
          tok-1: { backing: /spare.img, address: "10.0.0.1:7411" }
          osk-1: { backing: /spare.img, address: "10.0.0.2:7411" }

    """
private let thirdText = spareText.replacing("spare", with: "third").replacing(":7411", with: ":7412")
private let dataText = """
      data:
        size: 1GiB
        resyncRate: 50MB/s
        replicas:
          tok-1: { backing: /data.img, address: "10.0.0.1:7410" }
          osk-1: { backing: /data.img, address: "10.0.0.2:7410" }

    """

private let rawText = "{ name: raw, agent: filesystem, device: /dev/sdb1, mount: /srv/raw }"
private let ipText = "{ name: ip, agent: address, address: 10.9.0.100/24, interface: eth0 }"

private let rows: [Row] = [
    Row("cluster", "another name", ("cluster: prod", "cluster: test")),
    Row(
        "leaderSites", "other sites, another order, or left out",
        ("cluster: prod\n", "cluster: prod\nleaderSites: [osaka, tokyo]\n")),
    Row("timing", "left out or written", ("timing: { lease: 2s, ", "timing: { ")),
    Row("volumes", "one is added", ("volumes:\n", "volumes:\n" + thirdText)),
    Row(
        "groups", "one is added",
        ("groups:\n", "groups:\n  more: { nodes: [osk-1], resources: [{ name: x, agent: exec, command: x }] }\n")),
    Row("timing.lease", "longer or shorter", ("lease: 2s", "lease: 3s")),
    Row("timing.grace", "longer or shorter", ("grace: 1s", "grace: 2s")),
    Row("timing.renewal", "longer or shorter", ("renewal: 200ms", "renewal: 100ms")),
    Row("timing.detection", "longer or shorter", ("detection: 700ms", "detection: 900ms")),
    Row("timing.clockRateErrorPpm", "larger or smaller", ("clockRateErrorPpm: 1000", "clockRateErrorPpm: 2000")),
    Row("timing.guardKill", "longer or shorter", ("guardKill: 500ms", "guardKill: 600ms")),
    Row("timing.daemonRestart", "longer or shorter", ("daemonRestart: 1s", "daemonRestart: 1100ms")),

    Row("volumes.NAME", "removed together with its group", (dataText, ""), (groupText, "")),
    Row("volumes.NAME", "removed alone while a group uses it", (dataText, "")),
    Row("volumes.NAME.size", "smaller", ("size: 1GiB\n    resync", "size: 512MiB\n    resync")),
    Row("volumes.NAME.size", "larger", ("size: 1GiB\n    resync", "size: 2GiB\n    resync")),
    Row("volumes.NAME.resyncRate", "faster, slower or none", ("resyncRate: 50MB/s", "resyncRate: 1MB/s")),
    Row("volumes.NAME.replicas", "other order", (copyInTokyo + copyOnOsaka, copyOnOsaka + copyInTokyo)),
    Row(
        "volumes.NAME.replicas.NODE", "added",
        (copyOnOsaka, copyOnOsaka + "      ngo-1: { backing: /data.img, address: \"10.0.0.3:7410\" }\n")),
    Row(
        "volumes.NAME.replicas.NODE", "a standby's is removed", (copyOnOsaka, ""),
        ("nodes: [tok-1, osk-1]", "nodes: [tok-1]")),
    Row(
        "volumes.NAME.replicas.NODE", "the owner's is removed", (copyInTokyo, ""),
        ("nodes: [tok-1, osk-1]", "nodes: [osk-1]")),
    Row(
        "volumes.NAME.replicas.NODE", "the last copy that is in sync is removed",
        (copyInTokyo + copyOnOsaka, "      ngo-1: { backing: /data.img, address: \"10.0.0.3:7410\" }\n"),
        ("nodes: [tok-1, osk-1]", "nodes: [ngo-1]")),
    Row(
        "volumes.NAME.replicas.NODE.backing", "another path for a standby",
        (copyOnOsaka, copyOnOsaka.replacing("/data.img", with: "/new.img"))),
    Row(
        "volumes.NAME.replicas.NODE.backing", "another path for the owner",
        (copyInTokyo, copyInTokyo.replacing("/data.img", with: "/new.img"))),
    Row(
        "volumes.NAME.replicas.NODE.address", "another host or port",
        (copyOnOsaka, copyOnOsaka.replacing(":7410", with: ":7420"))),

    Row("groups.NAME", "removed", (groupText, "")),
    Row("groups.NAME", "renamed", ("  orders:", "  sales:")),
    Row(
        "groups.NAME.nodes", "a node is added",
        (copyOnOsaka, copyOnOsaka + "      ngo-1: { backing: /data.img, address: \"10.0.0.3:7410\" }\n"),
        ("nodes: [tok-1, osk-1]", "nodes: [tok-1, osk-1, ngo-1]")),
    Row("groups.NAME.nodes", "other order", ("nodes: [tok-1, osk-1]", "nodes: [osk-1, tok-1]")),
    Row("groups.NAME.nodes", "a standby is removed", ("nodes: [tok-1, osk-1]", "nodes: [tok-1]")),
    Row("groups.NAME.nodes", "the owner is removed", ("nodes: [tok-1, osk-1]", "nodes: [osk-1]")),
    Row("groups.NAME.takeover", "other word", ("takeover: after-lease", "takeover: immediate")),
    Row("groups.NAME.failback", "switched on", ("failback: false", "failback: true")),
    Row("groups.NAME.restart", "other limits", ("restart: { attempts: 3, window: 10m }", "# no limits")),
    Row("groups.NAME.restart.attempts", "more or fewer", ("attempts: 3", "attempts: 1")),
    Row("groups.NAME.restart.window", "longer or shorter", ("window: 10m", "window: 5m")),
    Row("groups.NAME.moves", "other limits", ("moves: { maximum: 6, window: 1h }", "# no limits")),
    Row("groups.NAME.moves.maximum", "more or fewer", ("maximum: 6", "maximum: 1")),
    Row("groups.NAME.moves.window", "longer or shorter", ("window: 1h", "window: 2h")),
    Row("groups.NAME.undeadWait", "longer or shorter", ("failback: false", "failback: false\n    undeadWait: 5s")),

    Row(
        "groups.NAME.resources", "other order",
        (rawText, ipText), (ipText + "\n      - { name: web", rawText + "\n      - { name: web")),
    Row(
        "groups.NAME.resources[NAME]", "added at the end",
        ("parameters: { name: y } }", "parameters: { name: y } }\n      - { name: last, agent: exec, command: z }")),
    Row(
        "groups.NAME.resources[NAME]", "removed",
        ("      - \(ipText)\n", "")),
    Row("groups.NAME.resources[NAME].name", "renamed", ("name: raw", "name: cooked")),
    Row("groups.NAME.resources[NAME].agent", "another agent", ("ocf:heartbeat:Dummy", "ocf:heartbeat:Delay")),
    Row("groups.NAME.resources[NAME].startTimeout", "longer or shorter", ("startTimeout: 50s", "startTimeout: 5s")),
    Row("groups.NAME.resources[NAME].stopTimeout", "longer or shorter", ("stopTimeout: 40s", "stopTimeout: 4s")),
    Row(
        "groups.NAME.resources[NAME].checkInterval", "longer, shorter or none",
        ("checkInterval: 30s", "checkInterval: 0")),
    Row("groups.NAME.resources[NAME].checkTimeout", "longer or shorter", ("checkTimeout: 20s", "checkTimeout: 2s")),
    Row("groups.NAME.resources[NAME].killable", "other word", ("checkLevel: 0,", "checkLevel: 0, killable: true,")),

    Row("groups.NAME.resources[NAME].command (exec)", "another", ("command: a", "command: aa")),
    Row("groups.NAME.resources[NAME].stop (exec)", "another", ("stop: b", "stop: bb")),
    Row("groups.NAME.resources[NAME].check (exec)", "another", ("check: c", "check: cc")),
    Row("groups.NAME.resources[NAME].user (exec)", "another", ("user: d", "user: dd")),
    Row("groups.NAME.resources[NAME].directory (exec)", "another", ("directory: /e", "directory: /ee")),
    Row(
        "groups.NAME.resources[NAME].environment (exec)", "a variable",
        ("environment: { F: f }", "environment: { F: { file: /f } }")),
    Row("groups.NAME.resources[NAME].address (address)", "another", ("10.9.0.100/24", "10.9.0.101/24")),
    Row("groups.NAME.resources[NAME].interface (address)", "another", ("interface: eth0", "interface: eth1")),
    Row(
        "groups.NAME.resources[NAME].volume (filesystem)", "another",
        ("agent: volume, volume: data", "agent: volume, volume: spare"),
        ("agent: filesystem, volume: data", "agent: filesystem, volume: spare")),
    Row("groups.NAME.resources[NAME].device (filesystem)", "another", ("/dev/sdb1", "/dev/sdc1")),
    Row("groups.NAME.resources[NAME].mount (filesystem)", "another", ("mount: /srv/raw", "mount: /srv/new")),
    Row("groups.NAME.resources[NAME].type (filesystem)", "another", ("type: ext4", "type: xfs")),
    Row("groups.NAME.resources[NAME].options (filesystem)", "others", ("options: noatime", "options: discard")),
    Row("groups.NAME.resources[NAME].format (filesystem)", "other word", ("format: never", "format: if-blank")),
    Row(
        "groups.NAME.resources[NAME].volume (volume)", "another",
        ("agent: filesystem, volume: data, mount: /srv/pg", "agent: filesystem, device: /dev/sdd1, mount: /srv/pg"),
        ("agent: volume, volume: data", "agent: volume, volume: spare")),
    Row("groups.NAME.resources[NAME].checkLevel (ocf)", "another", ("checkLevel: 0", "checkLevel: 10")),
    Row("groups.NAME.resources[NAME].PARAMETER (ocf)", "another", ("state: /run/x", "state: /run/z")),
    Row("groups.NAME.resources[NAME].parameters (ocf)", "another", ("name: y", "name: \"\"")),
]

@Suite struct ConfigurationChangeTests {
    /// The rows of the tables: key, change, and what happens.
    static let table: [(key: String, change: String, effect: String)] = {
        let path = "\(#filePath)".replacing(
            "Tests/NodeTests/ConfigurationChangeTests.swift", with: "docs/configuration-changes.md")
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard cells.count == 6, cells[1] != "key", !cells[1].hasPrefix("---") else { return nil }
            return (cells[1], cells[2], cells[3])
        }
    }()

    @Test func `every key of the document has a row in the table, and no row has another key`() {
        let known = Set(ConfigurationKeys.paths)
        let listed = Set(Self.table.map(\.key))
        #expect(known.subtracting(listed).sorted() == [], "keys without a row")
        #expect(listed.subtracting(known).sorted() == [], "rows without a key")
    }

    @Test func `every row of the table is played`() {
        let played = Set(rows.map(\.testDescription))
        let listed = Set(Self.table.map { "\($0.key): \($0.change)" })
        #expect(listed.subtracting(played).sorted() == [], "rows that nothing plays")
        #expect(played.subtracting(listed).sorted() == [], "plays that no row promises")
    }

    @Test(arguments: rows)
    fileprivate func `a change does to a running group what its row says (rule K1)`(row: Row) throws {
        var cluster = try LivingCluster()
        let text = try row.edited(LivingCluster.document)
        let promised = Self.table.first { $0.key == row.key && $0.change == row.change }?.effect
        let happened = try cluster.effect(of: text)
        #expect(happened == promised)
    }
}
