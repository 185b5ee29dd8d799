import Basis
import Foundation
import Testing

@testable import Agents
@testable import Resources

@Suite struct AgentsInspectionTests {
    private static let xml = """
        <?xml version="1.0"?>
        <!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
        <resource-agent name="Dummy" version="1.0">
        <version>1.0</version>
        <!-- <parameter name="commented" required="1"/> -->
        <longdesc lang="en">Long &lt;text&gt;.</longdesc>
        <shortdesc lang="en">Example
          agent &amp; more</shortdesc>
        <parameters>
        <parameter name="state" unique="1">
        <longdesc lang="en">Where.</longdesc><shortdesc lang="en">State file</shortdesc>
        <content type="string" default="/run/Dummy.state" />
        </parameter>
        <parameter name='fake' required='1'><shortdesc lang="en">Fake</shortdesc><content type="string"/></parameter>
        </parameters>
        <actions>
        <action name="start" timeout="20s" />
        <action name="stop" timeout="2min"/>
        <action name="monitor" timeout="20" interval="10" depth="0"/>
        <action name="meta-data" timeout="5000ms"/>
        <action name="reload"/>
        </actions>
        </resource-agent>
        """

    @Test func `the description of an agent is read, whatever else stands in it`() throws {
        let metadata = try #require(AgentMetadata(xml: Self.xml))
        #expect(metadata.summary == "Example agent & more")
        #expect(
            metadata.parameters == [
                .init(name: "state", isRequired: false, standard: "/run/Dummy.state", summary: "State file"),
                .init(name: "fake", isRequired: true, summary: "Fake"),
            ])
        #expect(metadata.timeout(of: "start") == .seconds(20))
        #expect(metadata.timeout(of: "stop") == .seconds(120))
        #expect(metadata.timeout(of: "monitor") == .seconds(20))
        #expect(metadata.timeout(of: "meta-data") == .seconds(5))
        #expect(metadata.timeout(of: "reload") == nil)
    }

    @Test func `no damage to a description breaks the reader`() {
        let bytes = Array(Self.xml.utf8)
        for length in stride(from: 0, through: bytes.count, by: 3) {
            _ = AgentMetadata(xml: String(decoding: bytes[..<length], as: UTF8.self))
            _ = AgentMetadata(xml: String(decoding: bytes[length...], as: UTF8.self))
        }
        #expect(AgentMetadata(xml: "") == nil)
        #expect(AgentMetadata(xml: "not found") == nil)
    }

    @Test func `a machine says what it has, lacks, and cannot find out in time`() throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("hf-\(UUID().uuidString.prefix(8))")
        let folder = root.appendingPathComponent("resource.d/try")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: root) }
        func put(_ name: String, _ text: String) throws {
            let path = folder.appendingPathComponent(name).path
            #expect(
                FileManager.default.createFile(
                    atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o755]))
        }
        try put("Dummy", "#!/bin/sh\ncat <<'END'\n\(Self.xml)\nEND\n")
        try put("Broken", "#!/bin/sh\nexit 1\n")
        try put("Slow", "#!/bin/sh\nexec sleep 60\n")
        let environment = AgentEnvironment(
            runDirectory: root.path, cgroupRoot: "/nowhere", nodeName: "n", clusterName: "c", ocfRoot: root.path)
        let inspector = NodeInspector(environment: environment)
        #expect(inspector.agents() == ["ocf:try:Broken", "ocf:try:Dummy", "ocf:try:Slow"])
        let answers = inspector.answer(
            [
                .agent("ocf:try:Dummy"), .agent("ocf:try:Nosuch"), .agent("ocf:try:Broken"), .user("root"),
                .user("nobodyknows"), .interface("lo"), .interface("eth99"), .filesystem("proc"), .filesystem("ext9"),
                .file("/etc/passwd"), .file("/nowhere"), .agent("ocf:try:Slow"), .user("root"),
            ], within: .seconds(3))
        #expect(answers[0] == AgentMetadata(xml: Self.xml).map { .agent($0) })
        #expect(answers[1] == .no("there is no \(folder.path)/Nosuch"))
        #expect(answers[2] == .unknown("it does not describe itself"))
        #expect(answers[3] == .yes)
        #expect(answers[4] == .no(""))
        #expect(answers[5] == .yes)
        #expect(answers[6] == .no(""))
        #expect(answers[7] == .yes)
        #expect(answers[8] == .no(""))
        #expect(answers[9] == .yes)
        #expect(answers[10] == .no("no such file or directory"))
        #expect(answers[11] == .unknown("it did not describe itself in time"))
        #expect(answers.count == 13)
    }

    @Test func `what stands in a file is told to the agent, and its absence names the file alone`() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("hf-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        func call() -> AgentCall {
            let resource = ResourcePolicy(
                name: ResourceName("db"), agent: "ocf:heartbeat:pgsql",
                parameters: [.init("password", path, isFile: true), .init("port", "1")])
            return AgentCall(
                id: 1, group: GroupName("g"), epoch: .none, resource: resource, action: .start, timeout: .seconds(1))
        }
        #expect(FileManager.default.createFile(atPath: path, contents: Data("se cret\r\n".utf8)))
        let told = try ParameterFiles.resolved(call()).get()
        #expect(told.resource.parameters == [.init("password", "se cret"), .init("port", "1")])
        #expect(FileManager.default.createFile(atPath: path, contents: Data([0x61, 0, 0x62])))
        #expect(throws: ParameterFiles.Missing.self) { try ParameterFiles.resolved(call()).get() }
        try FileManager.default.removeItem(atPath: path)
        guard case .failure(let missing) = ParameterFiles.resolved(call()) else {
            Issue.record("there is no such file")
            return
        }
        #expect(missing.reason == "\(path), which `password` needs, cannot be read: No such file or directory")
        #expect(missing.without.resource.parameters == [.init("port", "1")])
    }
}
