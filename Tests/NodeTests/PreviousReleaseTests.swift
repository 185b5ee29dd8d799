import Basis
import Foundation
import Testing

@testable import Cluster

/// What the release before wrote is read, and what is still written for it is the same to the byte: so nodes of both are one
/// cluster, and the one before can be put back. (docs/decisions/0016-what-n-1-means.md, docs/formats.md)
///
/// The bytes in `Formats` were written by commit 18116bd, one of each kind of entry and message, and a replicated state. They
/// are never made anew from a later build.
@Suite struct PreviousReleaseTests {
    private static func samples(_ kind: String) throws -> [(name: String, bytes: [UInt8])] {
        let path = "\(#filePath)".replacing("PreviousReleaseTests.swift", with: "Formats/level-1.txt")
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 2, words[0].hasPrefix(kind), let data = Data(base64Encoded: String(words[1])) else {
                return nil
            }
            return (String(words[0]), Array(data))
        }
    }

    @Test func `every entry of the release before is read, and written as it was`() throws {
        let samples = try Self.samples("entry-")
        #expect(samples.count == 52)
        for sample in samples {
            #expect(try LogCommand(decoding: sample.bytes).encoded == sample.bytes, "\(sample.name)")
        }
    }

    @Test func `every message of the release before is read, and written for it as it was`() throws {
        let samples = try Self.samples("message-")
        #expect(samples.count == 36)
        for sample in samples {
            let envelope = try Envelope(decoding: sample.bytes)
            #expect(envelope.encoded(in: 1) == sample.bytes, "\(sample.name)")
        }
    }

    @Test func `a replicated state of the release before is read, and written as it was`() throws {
        let sample = try #require(try Self.samples("state").first)
        let state = try ClusterState(decoding: sample.bytes)
        #expect(state.nodes.count == 3 && state.groups.count == 1 && !state.events.isEmpty)
        #expect(state.encoded == sample.bytes)
    }

    @Test func `what a node runs is said in the present messages alone`() throws {
        let (name, bytes) = try #require(try Self.samples("message-summary").first)
        var envelope = try Envelope(decoding: bytes)
        guard case .summary(var summary) = envelope.message else {
            Issue.record("\(name) is no summary")
            return
        }
        #expect(summary.programs == nil)
        summary.programs = NodePrograms(
            daemon: Release(version: "9.9.9", level: FeatureLevel(7)), guardian: .init(version: nil, isPresent: false),
            servers: [.init(volume: VolumeName("data"), helper: .init(version: "9.9.8", isPresent: true))])
        envelope.message = .summary(summary)
        #expect(try Envelope(decoding: envelope.encoded(in: 2)) == envelope)
        #expect(envelope.encoded(in: 1) == bytes)
        // What goes through a third node is signed as the oldest version has it: nothing beside that is believed.
        envelope.isRelayed = true
        #expect(throws: CodecError.self) { try Envelope(decoding: envelope.encoded(in: 2)) }
    }
}
