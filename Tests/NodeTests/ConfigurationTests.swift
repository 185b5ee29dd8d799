import Basis
import Foundation
import Reports
import Resources
import ScenarioKit
import Testing

@testable import ClusterConfiguration

@Suite struct ConfigurationTests {
    static let example = """
        cluster: prod
        timing: { lease: 1.75s, grace: 750ms, renewal: 200ms, detection: 700ms, clockRateErrorPpm: 1000 }
        volumes:
          pgdata:
            size: 1GiB
            resyncRate: 50MB/s
            replicas:
              tok-1: { backing: /var/lib/holdfast/pgdata.img, address: "10.0.0.1:7410" }
              osk-1: { backing: /var/lib/holdfast/pgdata.img, address: "10.0.0.2:7410" }
        groups:
          orders:
            nodes: [tok-1, osk-1]
            takeover: after-lease
            failback: false
            restart: { attempts: 3, window: 10m }
            moves: { maximum: 6, window: 1h }
            resources:
              - { name: disk, agent: volume, volume: pgdata }
              - { name: fs, agent: filesystem, volume: pgdata, mount: /srv/pg, type: ext4, format: if-blank }
              - { name: db, agent: exec, command: "postgres -D '/srv/pg'", check: pg_isready, user: postgres,
                  checkInterval: 5s, startTimeout: 60s, environment: { PGPORT: 5432, EMPTY: "" } }
              - { name: ip, agent: address, address: 10.9.0.100/24, interface: eth0 }
              - { name: web, agent: "ocf:heartbeat:Dummy", state: /run/dummy.state, killable: false }
        """
    static let nodes = [
        KnownNode(name: "tok-1", site: "tokyo", role: .member, address: "10.0.0.1:7400"),
        KnownNode(name: "osk-1", site: "osaka", role: .member),
        KnownNode(name: "ngo-1", site: "nagoya", role: .member),
        KnownNode(name: "wit-1", site: "cloud", role: .witness),
    ]

    @Test(arguments: ScenarioFile.files(in: "\(#filePath)".replacing("ConfigurationTests.swift", with: "Scenarios")))
    func `every mistake is reported as the scenario says`(path: String) throws {
        guard path.split(separator: "/").last?.hasPrefix("configuration_") == true else { return }
        try ScenarioFile(path: path).run { directive in
            // A scenario ends at the first blank line, so `.` stands for one.
            let text = directive.input.map { $0 == "." ? "" : $0 }.joined(separator: "\n")
            switch directive.command {
            case "read", "read-anywhere":
                let outcome = ConfigurationReader.read(
                    text, knownNodes: directive.command == "read" ? Self.nodes : nil,
                    clusterName: directive.options["cluster"], path: "cluster.yaml")
                #expect((outcome.policy == nil) == !outcome.errors.isEmpty)
                return outcome.diagnostics.map(\.description)
            case "render":
                let policy = try #require(ConfigurationReader.read(text).policy)
                return [String(ConfigurationWriter.render(policy).dropLast())]
            case "compare":
                let halves = text.components(separatedBy: "\n=>\n")
                let old = try #require(ConfigurationReader.read(halves[0]).policy)
                let new = try #require(ConfigurationReader.read(halves[1]).policy)
                return PolicyDifference.sentences(from: old, to: new)
            default:
                return ["unknown directive \(directive.command)"]
            }
        }
    }

    @Test func `the documented example reads without a complaint`() throws {
        let outcome = ConfigurationReader.read(Self.example, knownNodes: Self.nodes, clusterName: "prod")
        #expect(outcome.diagnostics == [])
        let policy = try #require(outcome.policy)
        #expect(policy.timing == .standard)
        #expect(policy.volume(VolumeName("pgdata"))?.resyncBytesPerSecond == 50_000_000)
        let group = try #require(policy.group(GroupName("orders")))
        #expect(group.nodes == ["tok-1", "osk-1"])
        #expect(group.volumes == [VolumeName("pgdata")])
        #expect(group.resources[2].parameter("environment.PGPORT") == "5432")
        #expect(group.resources[2].parameter("environment.EMPTY") == "")
        #expect(group.resources[2].startTimeout == .seconds(60))
    }

    @Test func `what the writer writes, the reader reads back`() throws {
        var policy = try #require(ConfigurationReader.read(Self.example).policy)
        #expect(ConfigurationReader.read(ConfigurationWriter.render(policy)).policy == policy)
        policy.timing.leaseDuration = .milliseconds(3001)
        policy.timing.clockRateErrorPartsPerMillion = 0
        let difficult = [
            "null", "~", " x ", "a: b", "a #b", "- x", "'", "\"\\", "two\nlines\ttab", "true", "0x10", "ünï\u{2028}",
            "*a",
            "&a", "!t", "{", "[", "@", "`", "%", "?", "<<", "=", "a:", "ocf:a:b",
        ]
        policy.groups[0].resources[2].parameters =
            difficult.enumerated().map { ResourcePolicy.Parameter("environment.V\($0 + 100)", $1) }
            + [ResourcePolicy.Parameter("command", "sh -c \"echo: 'x' # no comment\"")]
        policy.groups[0].resources[2].parameters.sort { $0.key < $1.key }
        policy.groups[0].resources[0].monitorInterval = .zero
        let again = ConfigurationReader.read(ConfigurationWriter.render(policy))
        #expect(again.diagnostics == [])
        #expect(again.policy == policy)
    }

    @Test func `the template of init reads, with and without its examples`() throws {
        let plain = ConfigurationReader.read(
            ConfigurationTemplate.text(cluster: "prod", node: "tok-1"), knownNodes: Self.nodes, clusterName: "prod")
        #expect(plain.diagnostics == [])
        #expect(plain.policy?.groups == [])
        let full = ConfigurationReader.read(
            ConfigurationTemplate.uncommented(cluster: "prod", node: "tok-1", secondNode: "osk-1"),
            knownNodes: Self.nodes, clusterName: "prod")
        #expect(full.diagnostics == [])
        #expect(full.policy?.timing == .standard)
        #expect(full.policy?.groups.first?.resources.count == 4)
    }

    @Test func `lengths of time keep their meaning when written`() throws {
        for (text, nanoseconds) in [
            ("250ms", 250_000_000), ("1.75s", 1_750_000_000), ("10m", 600_000_000_000), ("1h", 3_600_000_000_000),
            ("90s", 90_000_000_000), ("1us", 1000), ("7ns", 7), ("0s", 0), ("1.000000001s", 1_000_000_001),
        ] as [(String, UInt64)] {
            let span = try #require(Quantities.span(text))
            #expect(span.nanoseconds == nanoseconds)
            #expect(Quantities.text(span) == text)
        }
        #expect(Quantities.span("1h30m") == .seconds(5400))
        #expect(Quantities.span("2d") == .seconds(172_800))
        for wrong in ["", "5", "s", "1.s", ".5s", "-1s", "1 s", "1S", "99999999999d", "0.5ns", "1..2s", "١s"] {
            #expect(Quantities.span(wrong) == nil)
        }
    }

    @Test func `sizes keep their meaning when written`() throws {
        for (text, bytes) in [("1GiB", 1 << 30), ("500MB", 500_000_000), ("1536MiB", 1536 << 20), ("4097B", 4097)]
            as [(String, UInt64)]
        {
            #expect(Quantities.size(text) == bytes)
            #expect(Quantities.text(bytes: bytes) == text)
        }
        #expect(Quantities.size("1.5 GiB") == 1536 << 20)
        for wrong in ["", "1", "1G", "GiB", "-1GiB", "1gib", "9999999999TiB", "1.0000001KiB"] {
            #expect(Quantities.size(wrong) == nil)
        }
        #expect(Quantities.rate("50MB/s") == 50_000_000)
        #expect(Quantities.rate("50MB") == nil)
        #expect(Quantities.rate("0B/s") == nil)
    }

    @Test func `network addresses are told from other text`() {
        #expect(Quantities.hostAndPort("10.0.0.1:7400")?.port == 7400)
        #expect(Quantities.hostAndPort("[fd00::1]:7400")?.host == "fd00::1")
        #expect(Quantities.hostAndPort("db.example:1")?.host == "db.example")
        for wrong in [
            "10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.256:1", "fd00::1:7400", ":7400", "a b:1", "-a:1",
        ] {
            #expect(Quantities.hostAndPort(wrong) == nil)
        }
        #expect(Quantities.network("10.9.0.100/24")?.prefix == 24)
        #expect(Quantities.network("fd00::5/64")?.address.count == 16)
        for wrong in ["10.9.0.100", "10.9.0.100/33", "10.9.0.100/0", "10.9.0/24", "x/24", "10.9.0.100/24/1"] {
            #expect(Quantities.network(wrong) == nil)
        }
    }

    @Test func `a hostile document is refused without harm`() {
        let bomb =
            "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            + (1...8).map { level in
                "a\(level): &a\(level) [" + (0..<10).map { _ in "*a\(level - 1)" }.joined(separator: ",") + "]\n"
            }.joined()
        let outcome = ConfigurationReader.read(bomb)
        #expect(outcome.policy == nil)
        #expect(outcome.errors.contains { $0.remedy == "use fewer aliases" })
        #expect(ConfigurationReader.read(String(repeating: "[", count: 200_000)).policy == nil)
        #expect(ConfigurationReader.read(String(repeating: "x", count: 2_000_000)).policy == nil)
        #expect(ConfigurationReader.read("cluster: \u{0}").policy == nil)
    }

    @Test func `aliases as a key, and one key many times, are refused at once`() {
        let levels = (1...8).map {
            "a\($0): &a\($0) [" + [String](repeating: "*a\($0 - 1)", count: 9).joined(separator: ",") + "]\n"
        }
        let bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + levels.joined() + "? *a8\n: 1\n"
        let refused = ConfigurationReader.read(bomb)
        #expect(refused.errors.contains { $0.remedy == "use fewer aliases" })
        let group = "  g: { nodes: [tok-1, osk-1], resources: [ { name: x, agent: exec, command: x } ] }\n"
        let often = ConfigurationReader.read("cluster: prod\ngroups:\n" + String(repeating: group, count: 1500))
        #expect(often.errors.count == DocumentParser.maximumProblems + 1)
        #expect(often.errors.first?.reason == "the key is already given in line 3")
        #expect(often.errors.last?.reason == "there are more mistakes after this one")
        let deep = "cluster: " + String(repeating: "[", count: 60) + String(repeating: "]", count: 60)
        #expect(ConfigurationReader.read(deep).errors.first?.remedy == "write it flatter")
    }

    @Test func `files with the line ends of DOS are read like any other`() throws {
        let dos = Self.example.replacing("\n", with: "\r\n")
        #expect(ConfigurationReader.read(dos).policy == ConfigurationReader.read(Self.example).policy)
        let twice = ConfigurationReader.read("cluster: prod\r\nvolumes:\r\n  a: {}\r\n  a: {}\r\n")
        #expect(twice.errors.contains { $0.path == "volumes.a" && $0.reason == "the key is already given in line 3" })
        let tab = ConfigurationReader.read("cluster: prod\r\ngroups:\r\n\ta: b\r\n")
        #expect(tab.errors.map(\.remedy) == ["indent with spaces, not with tabs"])
    }

    @Test func `no damage to a document breaks the reader, and what it still accepts it can write`() {
        var random = SeededRandom(seed: 7)
        let original = Array(Self.example.unicodeScalars)
        let inserts = Array("\t\n :-#&*!|>'\"%@`{}[],?~0x\u{E000}é".unicodeScalars)
        var accepted = 0
        for _ in 0..<1000 {
            var scalars = original
            for _ in 0...Int(random.next() % 4) {
                let position = Int(random.next() % UInt64(scalars.count))
                switch random.next() % 4 {
                case 0: scalars.remove(at: position)
                case 1: scalars.insert(inserts[Int(random.next() % UInt64(inserts.count))], at: position)
                case 2: scalars[position] = inserts[Int(random.next() % UInt64(inserts.count))]
                default:
                    let end = min(scalars.count, position + Int(random.next() % 40))
                    scalars.insert(contentsOf: Array(scalars[position..<end]), at: position)
                }
            }
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars)
            let outcome = ConfigurationReader.read(String(text), knownNodes: Self.nodes)
            #expect((outcome.policy == nil) == !outcome.errors.isEmpty)
            guard let policy = outcome.policy else { continue }
            accepted += 1
            #expect(ConfigurationReader.read(ConfigurationWriter.render(policy)).policy == policy, "\(String(text))")
        }
        #expect(accepted > 20)
    }
}

extension ConfigurationTemplate {
    /// The same with every example switched on and `SECOND-NODE` filled in: what a user gets by removing the marks.
    static func uncommented(cluster: String, node: String, secondNode: String) -> String {
        let lines = self.text(cluster: cluster, node: node).split(separator: "\n", omittingEmptySubsequences: false)
        return lines.map { line in
            // Prose has a capital letter or the cluster's name after the mark; examples begin with a key or an indent.
            guard line.hasPrefix("# "), let first = line.dropFirst(2).first else { return String(line) }
            let isExample = first == " " || ["timing:", "volumes:", "groups:"].contains(line.dropFirst(2))
            return isExample ? String(line.dropFirst(2)) : String(line)
        }
        .joined(separator: "\n").split(separator: "SECOND-NODE", omittingEmptySubsequences: false)
        .joined(separator: secondNode)
    }
}
