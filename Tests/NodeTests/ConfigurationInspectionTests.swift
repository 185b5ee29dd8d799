import Basis
import Raft
import Resources
import Testing

@testable import Cluster
@testable import ClusterConfiguration

@Suite struct ConfigurationInspectionTests {
    private static let document = """
        cluster: prod
        groups:
          orders:
            nodes: [tok-1, osk-1]
            resources:
              - { name: db, agent: exec, command: a, user: postgres, environment: { SECRET: { file: /etc/secret } } }
              - { name: ip, agent: address, address: 10.9.0.100/24, interface: eth9 }
              - { name: fs, agent: filesystem, device: /dev/sdb1, mount: /srv, type: zfs }
              - { name: web, agent: "ocf:heartbeat:apache", confgfile: /etc/x, checkLevel: 10, startTimeout: 5s }
              - { name: gone, agent: "ocf:heartbeat:Nosuch" }
        """

    private static let metadata: AgentMetadata = {
        var metadata = AgentMetadata()
        metadata.parameters = [
            .init(name: "configfile", isRequired: true, standard: "/etc/apache2.conf"),
            .init(name: "name", isRequired: true, summary: "the name of it"), .init(name: "port", isRequired: false),
        ]
        metadata.actions = [
            .init(name: "start", timeout: .seconds(120)), .init(name: "stop", timeout: .seconds(20)),
            .init(name: "monitor", timeout: .seconds(30)), .init(name: "monitor", timeout: .seconds(90)),
        ]
        return metadata
    }()

    private static func answer(_ question: InspectionQuestion, on node: String) -> InspectionAnswer {
        switch question {
        case .agent("ocf:heartbeat:apache"): .agent(Self.metadata)
        case .agent: .no("there is no such file")
        case .user, .file: node == "osk-1" ? .no("no such file") : .yes
        default: .no("")
        }
    }

    private static func answers(
        _ inspection: ConfigurationInspection, from nodes: [String] = ["tok-1", "osk-1"]
    ) -> [String: [InspectionQuestion: InspectionAnswer]] {
        var found: [String: [InspectionQuestion: InspectionAnswer]] = [:]
        for (node, questions) in inspection.questions where nodes.contains(node) {
            for question in questions { found[node, default: [:]][question] = self.answer(question, on: node) }
        }
        return found
    }

    @Test func `every node of a group is asked once for what its resources need`() throws {
        let policy = try #require(ConfigurationReader.read(Self.document).policy)
        let inspection = ConfigurationInspection(policy, old: ClusterPolicy(name: "prod"))
        #expect(inspection.questions.map(\.node) == ["osk-1", "tok-1"])
        #expect(
            inspection.questions[0].questions == [
                .user("postgres"), .file("/etc/secret"), .interface("eth9"), .filesystem("zfs"),
                .agent("ocf:heartbeat:apache"), .agent("ocf:heartbeat:Nosuch"),
            ])
    }

    @Test func `what a machine lacks, and what an agent does not know, is said by name and node`() throws {
        let policy = try #require(ConfigurationReader.read(Self.document).policy)
        let inspection = ConfigurationInspection(policy, old: ClusterPolicy(name: "prod"))
        let found = inspection.findings(Self.answers(inspection)).map { "\($0.path): \($0.reason); \($0.remedy)" }
        let start = "groups.orders.resources"
        #expect(
            found == [
                "\(start)[db].user: there is no user `postgres` on osk-1; create it there",
                "\(start)[ip].interface: there is no interface `eth9` on tok-1 and osk-1; "
                    + "correct the name, or leave `interface` out to let the node choose",
                "\(start)[fs].type: there is no file system `zfs` on tok-1 and osk-1; "
                    + "install its tools and modules there, or correct the type",
                "\(start)[web].confgfile: `ocf:heartbeat:apache` on tok-1 has no parameter `confgfile`; "
                    + "did you mean `configfile`?",
                "\(start)[web]: `ocf:heartbeat:apache` needs `name` (the name of it); add `parameters: { name: VALUE }`",
                "\(start)[gone].agent: there is no agent `ocf:heartbeat:Nosuch` on tok-1 and osk-1; "
                    + "install the package that has it, such as resource-agents, or correct the name",
                "\(start)[db].environment.SECRET: /etc/secret cannot be read now on osk-1 (no such file); "
                    + "put it there before the group starts, readable by root alone",
            ])
        #expect(inspection.findings([:]).isEmpty)
    }

    @Test func `what was so before is said, and refuses nothing`() throws {
        let policy = try #require(ConfigurationReader.read(Self.document).policy)
        let same = ConfigurationInspection(policy, old: policy)
        let found = same.findings(Self.answers(same))
        #expect(found.count == 7 && found.allSatisfy(\.isOld))
    }

    @Test func `times that an agent recommends hold where the document gives none, and stay when nobody answers`()
        throws
    {
        let outcome = ConfigurationReader.read(Self.document)
        let policy = try #require(outcome.policy)
        let inspection = ConfigurationInspection(policy, old: ClusterPolicy(name: "prod"))
        let timed = inspection.withRecommendedTimes(
            unset: outcome.unsetTimes, old: ClusterPolicy(name: "prod"), Self.answers(inspection))
        let web = try #require(timed.groups[0].resources.first { $0.name == ResourceName("web") })
        #expect(web.startTimeout == .seconds(5))
        #expect(web.stopTimeout == .seconds(60))
        #expect(web.monitorTimeout == .seconds(90))
        let again = ConfigurationInspection(policy, old: timed).withRecommendedTimes(
            unset: outcome.unsetTimes, old: timed, [:])
        #expect(again == timed)
        let read = ConfigurationReader.read(ConfigurationWriter.render(timed))
        #expect(read.policy == timed && read.unsetTimes.isEmpty)
    }

    @Test func `questions and answers survive the wire`() throws {
        let messages: [NodeMessage] = [
            .inspect(id: 7, [.agent("a"), .user("b"), .interface("c"), .filesystem("d"), .file("e")]),
            .inspected(id: 7, [.yes, .no("why"), .agent(Self.metadata), .unknown("time")]),
        ]
        for message in messages {
            let mark = StartMark(directory: DirectoryID(high: 1, low: 0), start: 3, nonce: 3)
            let word = HearingWord(
                run: RunID(9), stamp: Tick(nanoseconds: 8), heard: Tick(nanoseconds: 7),
                confirmed: Tick(nanoseconds: 6), records: 5, seen: 4, counts: true)
            let envelope = Envelope(
                from: NodeID(1), to: NodeID(2), isRelayed: false, mark: mark, word: word, message: message)
            #expect(try Envelope(decoding: envelope.encoded(in: Format.envelope.version)) == envelope)
            for length in 0..<envelope.encoded(in: Format.envelope.version).count {
                #expect(throws: CodecError.self) {
                    try Envelope(decoding: Array(envelope.encoded(in: Format.envelope.version)[..<length]))
                }
            }
        }
    }
}
