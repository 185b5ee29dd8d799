import Basis
import Mirror
import Raft
import Reports
import Resources
import Testing

@testable import Cluster
@testable import Daemon

/// Words that programs decide from are types: texts may be reworded.
@Suite struct TypedWordsTests {
    // MARK: Refusals

    @Test func `the exit code of a refused command comes from its type, whatever it says`() {
        let cases: [(Cluster.Refusal, FailureCode)] = [
            (.unknown(.group(GroupName("web"))), .notFound), (.unknown(.node(NodeID(7))), .notFound),
            (.unknown(.volume(VolumeName("data"))), .notFound),
            (.changedMeanwhile(inForce: LogIndex(9), expected: LogIndex(8)), .conflict),
            (.over("there is no node 7"), .conflict), (.repeated, .refused),
            (.unauthorised("the configuration was changed meanwhile"), .refused),
            (.changes([RefusedChange(path: "volumes.data.size", reason: "no", remedy: "wait")]), .refused),
            (.unfit("the configuration was changed meanwhile"), .refused),
        ]
        for (refusal, code) in cases {
            let failure = Backend.failure(refusal)
            #expect(failure.code == code, "\(refusal)")
            #expect(!failure.message.isEmpty)
        }
    }

    @Test func `what is refused says what it is about, and keeps its type with a name before it`() {
        #expect(Cluster.Refusal.unknown(.volume(VolumeName("data"))).description == "there is no volume data")
        #expect(Cluster.Refusal.over("the epoch is over").about("web") == .over("web: the epoch is over"))
        #expect(Cluster.Refusal.unfit("it is stopped").about("web").description == "web: it is stopped")
        #expect(Cluster.Refusal.repeated.about("web") == .repeated)
    }

    @Test func `commands about what is over, what is not there and what may not be asked are told apart`() {
        var state = ClusterState()
        var index = LogIndex.zero
        func apply(_ command: Command, from origin: NodeID = NodeID(1)) -> Outcome {
            index = index.next
            return state.apply(
                LogCommand(
                    origin: origin, nonce: 0, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0,
                    command: command), at: index)
        }
        func node(_ name: String, isWitness: Bool = false) -> JoiningNode {
            JoiningNode(name: name, site: "s", address: "\(name):1", role: isWitness ? .witness : .member)
        }
        let web = GroupPolicy(
            name: GroupName("web"), nodes: ["a"], resources: [ResourcePolicy(name: ResourceName("app"), agent: "exec")])
        #expect(apply(.bootstrap(clusterID: 1, clusterName: "prod", node: node("a"))) == .accepted)
        #expect(apply(.addNode(node("w", isWitness: true))) == .accepted)
        #expect(
            apply(.configure(ClusterPolicy(name: "prod", groups: [web]), text: "", expectedIndex: .zero)) == .accepted)
        #expect(apply(.want(GroupName("wab"), isRunning: true)) == .refused(.unknown(.group(GroupName("wab")))))
        #expect(apply(.drain(NodeID(9), isDrained: true)) == .refused(.unknown(.node(NodeID(9)))))
        #expect(apply(.compare(VolumeName("data"))) == .refused(.unknown(.volume(VolumeName("data")))))
        #expect(
            apply(.started(web.name, Epoch(generation: 0, index: 5))) == .refused(.over("web: the epoch is over")))
        let order = apply(.want(web.name, isRunning: true), from: NodeID(2))
        guard case .refused(.unauthorised) = order else {
            Issue.record("a witness gave an order: \(order)")
            return
        }
    }

    // MARK: Words on the wire

    private func summary(phase: Told<GroupPhase>, role: Told<CopyRole>) -> NodeSummary {
        NodeSummary(
            leaseRemaining: .seconds(1), appliedIndex: LogIndex(7), isGuarded: true, wallMilliseconds: 5,
            groups: [
                .init(
                    name: GroupName("web"), epoch: Epoch(generation: 0, index: 3), phase: phase,
                    resources: [
                        .init(name: ResourceName("app"), state: .known(.running), reason: "", checkedAge: .zero)
                    ])
            ],
            volumes: [
                .init(
                    name: VolumeName("data"), role: role, epoch: .none, dirtyBytes: 0, writtenBytes: 1, sentBytes: 2,
                    sentCompressedBytes: 3, problem: "", peers: [])
            ], remains: [], guardKillsFor: .zero)
    }

    private func sent(_ summary: NodeSummary) throws -> NodeSummary? {
        let envelope = Envelope(
            from: NodeID(1), to: NodeID(2), isRelayed: false, mark: .none, message: .summary(summary))
        guard case .summary(let read) = try Envelope(decoding: envelope.encoded(in: Format.envelope.version)).message
        else { return nil }
        return read
    }

    @Test func `every word of a summary comes over the wire as what it is`() throws {
        for phase in GroupPhase.allCases {
            for role in CopyRole.allCases {
                let told = self.summary(phase: .known(phase), role: .known(role))
                #expect(try self.sent(told) == told)
            }
        }
    }

    @Test func `a summary in the words of a newer release is read to its end, and what it means there is not guessed`()
        throws
    {
        let told = self.summary(phase: .foreign("hibernating"), role: .foreign("arbiter"))
        let read = try #require(try self.sent(told))
        #expect(read == told)
        #expect(read.groups[0].phase.known == nil)
        #expect(read.volumes[0].role.known == nil)
        #expect(read.groups[0].resources[0].state.known == .running)
        #expect(read.volumes[0].sentCompressedBytes == 3)
        let torn = self.summary(phase: .foreign("a\u{1B}[31mb"), role: .known(.owner))
        #expect(try self.sent(torn)?.groups[0].phase != torn.groups[0].phase, "escapes go to no terminal")
    }

    // MARK: Kinds of resources

    @Test(
        arguments: [
            ("exec", nil, ResourceKind.exec), ("address", "data", .address), ("filesystem", nil, .filesystem(on: nil)),
            ("filesystem", "data", .filesystem(on: VolumeName("data"))),
            ("volume", "data", .volume(VolumeName("data"))),
            ("volume", nil, .unknown), ("ocf:heartbeat:IPaddr2", nil, .ocf(provider: "heartbeat", type: "IPaddr2")),
            ("ocf:heartbeat", nil, .unknown), ("ocf:..:x", nil, .unknown), ("ocf:a:b/c", nil, .unknown),
            ("docker", "data", .unknown),
        ] as [(String, String?, ResourceKind)]) func `a kind is decided where a policy is read`(
            agent: String, volume: String?, kind: ResourceKind
        )
    {
        let parameters = volume.map { [ResourcePolicy.Parameter("volume", $0)] } ?? []
        var resource = ResourcePolicy(name: ResourceName("r"), agent: agent, parameters: parameters)
        #expect(resource.kind == kind)
        resource.agent = "exec"
        #expect(resource.kind == .exec)
        resource.agent = agent
        resource.parameters = []
        #expect(resource.kind == ResourceKind(agent: agent))
    }
}
