import Basis
import Foundation
import Reports
import Resources
import Testing

@testable import Cluster

/// Snapshots of a build that kept events as sentences. (docs/formats.md)
@Suite struct EarlierStateTests {
    /// Version 1 of the replicated state: two nodes, a group, a note with bytes that no terminal should see, a loss.
    private static let first = """
        AQABAAAAAAAAAAQAAABwcm9kAAAAAAQAAABwcm9kgOFOaAAAAACAF7QsAAAAAADC6wsAAAAAACe5KQAAAADoAwAAAAAAAABlzR0AAAAAAMqaOw
        AAAAABAAAABAAAAGRhdGEAEAAAAAAAAAIAAAAFAAAAdG9rLTECAAAAL2IDAAAAaDoyBQAAAG9zay0xAgAAAC9iAwAAAGg6MgABAAAABgAAAG9y
        ZGVycwIAAAAFAAAAdG9rLTEFAAAAb3NrLTEAAAMAAAAAcMmyiwAAAAYAAAAAoLgwRgMAAABYR/gNAAAAAQAAAAQAAABkaXNrBgAAAHZvbHVtZQ
        EAAAAGAAAAdm9sdW1lBAAAAGRhdGEAAFhH+A0AAAAAWEf4DQAAAADyBSoBAAAAAMgXqAQAAAAAAAAAAAUAAAAAAAAAAgAAAAEAAAAFAAAAdG9r
        LTEBAAAAcwcAAAB0b2stMToxAAMAAAAAAAAAAAMAAAAAAAAABwAAAGJvb3QtbjEBAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAQAAAAAAAA
        ADAAAAAAAAAIDhTmgAAAAAgBe0LAAAAAAAAPgqAAAAAAAAAgAAAAUAAABvc2stMQEAAABzBwAAAG9zay0xOjEAAQAAAAAAAAAABAAAAAAAAAAH
        AAAAYm9vdC1uMgEAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAABAAAAAAAAAAQAAAAAAAAAgOFOaAAAAACAF7QsAAAAAAAAoA8AAAAAAAACAA
        AAAQAAAAYAAABvcmRlcnMBAAAAAAAIAAAAAAAAAAEBAAAAAAUAAAAAAAAAAgAAAAEAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAD4
        KgAAAAAAAAAAAAD4KgAAAAAAAAABAAAABAAAAGRhdGEAEAAAAAAAAAIAAAAFAAAAdG9rLTECAAAAL2IDAAAAaDoyBQAAAG9zay0xAgAAAC9iAw
        AAAGg6MgBE4oXlO90pGgAAAAAAAAAAAAAAAAAAAAAAAAgAAAAAAAAAAAEAAAABAAAAAAAAAAEAAAAAAAAAAAAAAAkAAAABAAAAAAAAAAAAAAAA
        AAAAHgAAAHRvay0xIGZvdW5kZWQgdGhlIGNsdXN0ZXIgcHJvZAIAAABCMQAAAgAAAAAAAAAAAAAAAAAAABIAAABvc2stMSBqb2luZWQsIGF0IH
        MCAAAAQjEAAAMAAAAAAAAAAAAAAAAAAAALAAAAdG9rLTEgaXMgdXACAAAATDgAAQEAAAAEAAAAAAAAAAAAAAAAAAAACwAAAG9zay0xIGlzIHVw
        AgAAAEw4AAECAAAABQAAAAAAAAAAAAAAAAAAAC0AAAB0aGUgY29uZmlndXJhdGlvbiB3YXMgY2hhbmdlZCwgYXNrZWQgb24gdG9rLTEFAAAAYX
        BwbHkAAAgAAAAAAAAAAAAAAAAAAAAjAAAAb3JkZXJzIGlzIGFzc2lnbmVkIHRvIHRvay0xOiBhIHRlc3QEAAAAcGxhbgEGAAAAb3JkZXJzAQEA
        AAAJAAAAAAAAAAAAAAAAAAAAUwAAAGFuIG9wZXJhdG9yIG5vdGVzIGFib3V0IG9zay0xOiBhIGRpc2sgb2YgXHgxYlsySnRva3lvIHdhcyBleG
        NoYW5nZWQsIGFza2VkIG9uIG9zay0xCAAAAG9wZXJhdG9yAAECAAAACgAAAAAAAAAAAAAAAAAAADEAAAB0b2stMSBpcyBzaWxlbnQ6IGEgbWFq
        b3JpdHkgaGVhcnMgbm90aGluZyBmcm9tIGl0AgAAAEw3AAEBAAAACwAAAAAAAAAAAAAAAAAAACwAAAB0b2stMSBpcyBsb3N0OiBpdHMgbGVhc2
        UgaGFzIGNlcnRhaW5seSBlbmRlZAIAAABMNgABAQAAAPgqAAAAAAAAAAAAAAAAAAACAAAAAQAAAAEAAAAAAAAACwAAAAAAAABuDQAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAg
        AAAAEAAAAAAAAACQAAAAAAAACQAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACwAAAAAAAAA=
        """

    private func state() throws -> ClusterState {
        let data = try #require(Data(base64Encoded: Self.first, options: .ignoreUnknownCharacters))
        return try ClusterState(decoding: Array(data))
    }

    @Test func `version 1 is read, and its events say what they said`() throws {
        let state = try self.state()
        #expect(state.nodes.map(\.about.name) == ["tok-1", "osk-1"])
        #expect(state.nodes.map(\.standing) == [.lost, .trusted])
        #expect(state.policy.groups.map(\.name) == [GroupName("orders")])
        #expect(state.appliedIndex == LogIndex(11))
        #expect(
            state.events.map { "\($0.index) \($0.sentence) (\($0.rule.rawValue))" } == [
                "1 tok-1 founded the cluster prod (B1)", "2 osk-1 joined, at s (B1)", "3 tok-1 is up (L8)",
                "4 osk-1 is up (L8)", "5 the configuration was changed, asked on tok-1 (apply)",
                "8 orders is assigned to tok-1: a test (plan)",
                #"9 an operator notes about osk-1: a disk of \x1b[2Jtokyo was exchanged, asked on osk-1 (operator)"#,
                "10 tok-1 is silent: a majority hears nothing from it (L7)",
                "11 tok-1 is lost: its lease has certainly ended (L6)",
            ])
        let reports = state.events.map { EventReport($0) }
        #expect(Set(reports.map(\.kind)) == ["told"])
        #expect(reports[5].group == "orders" && reports[5].node == "tok-1" && reports[5].nodeID == 1)
    }

    @Test func `what was read is written in the present version, and goes on`() throws {
        var state = try self.state()
        let bytes = state.encoded
        #expect(bytes[0] == 2 && bytes[1] == 0)
        #expect(try ClusterState(decoding: bytes) == state)
        let log = StateLog()
        log.state = state
        #expect(log.run(.drain(NodeID(2), isDrained: true)).isAccepted)
        state = try ClusterState(decoding: log.state.encoded)
        #expect(state == log.state)
        #expect(state.events.count == 10)
        #expect(state.events.last?.happening == .node(NamedNode(NodeID(2), "osk-1"), .drained))
    }
}
