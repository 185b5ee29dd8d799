import Basis
import Raft
import Resources
import Testing

@testable import Cluster

@Suite struct `What operators write down` {
    @Test func `stands among the events, with its node and where it was asked`() {
        let log = StateLog()
        #expect(log.run(.note("the disk in bay 3 was exchanged", about: NodeID(2))).isAccepted)
        let event = log.state.events.last
        #expect(
            event?.sentence == "an operator notes about osk-1: the disk in bay 3 was exchanged, asked on tok-1")
        #expect(event?.rule == .operator)
        let words = KeptWords("the disk in bay 3 was exchanged")
        #expect(event?.happening == .cluster(.noted(words, about: NamedNode(NodeID(2), "osk-1"))))
        #expect(log.run(.note("the provider was called", about: nil)).isAccepted)
        #expect(log.state.events.last?.sentence == "an operator notes: the provider was called, asked on tok-1")
    }

    @Test func `is one line of bounded length`() {
        let log = StateLog()
        #expect(log.run(.note("one\ntwo " + String(repeating: "x", count: 2000), about: nil)).isAccepted)
        let sentence = log.state.events.last?.sentence ?? ""
        #expect(!sentence.contains("\n"))
        #expect(sentence.count < ClusterState.noteMaximum + 60)
    }

    @Test func `says something, and is about a node that is there`() {
        let log = StateLog()
        let before = log.state.events.count
        #expect(!log.run(.note("", about: nil)).isAccepted)
        #expect(!log.run(.note("text", about: NodeID(9))).isAccepted)
        #expect(log.state.events.count == before)
    }
}
