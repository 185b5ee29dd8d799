import Basis
import Cluster
import FoundationEssentials
import Host
import Raft
import SecureLink

/// `generation.json`: what this node follows since a majority was lost, and what has left it behind. There is none before.
/// (Rule R1)
struct GenerationFile: Codable, Equatable, Sendable {
    /// A generation.
    struct Form: Codable, Equatable, Sendable {
        var number: UInt32
        var recovery: UInt64

        init(_ generation: Generation) { (self.number, self.recovery) = (generation.number, generation.recovery) }

        var generation: Generation { Generation(number: self.number, recovery: self.recovery) }
    }
    /// A log directory.
    struct Log: Codable, Equatable, Sendable {
        var high: UInt64
        var low: UInt64
    }
    /// The version of this form.
    var version = Format.generationFile.version
    var generation: Form
    var overtakenBy: Form?
    /// The log with which this node prepared for the generation, if it did. (Rule E2.10)
    var preparedWith: Log?

    init(_ record: GenerationRecord) {
        self.preparedWith = record.preparedWith.map { Log(high: $0.high, low: $0.low) }
        self.generation = Form(record.generation)
        self.overtakenBy = record.overtakenBy.map { Form($0) }
    }

    /// What the file says; without one the node follows the first generation. One that is there and cannot be read is never passed
    /// over: who forgot that it was left behind would take part again.
    static func read(_ paths: NodePaths) throws(DriverError) -> GenerationRecord {
        let path = paths.generation
        guard FileManager.default.fileExists(atPath: path) else { return GenerationRecord(.first) }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .file(path: path, reason: "it cannot be read", remedy: "run the command as root")
        }
        if let flaw = VersionedFile.flaw(of: .generationFile, data, path: path) { throw flaw }
        guard let file = try? JSONDecoder().decode(GenerationFile.self, from: data) else {
            throw .file(
                path: path, reason: "it is damaged",
                remedy:
                    "write into it what `holdfast status` says on another node, or join this machine again with --replace"
            )
        }
        return GenerationRecord(
            file.generation.generation, overtakenBy: file.overtakenBy?.generation,
            preparedWith: file.preparedWith.map { DirectoryID(high: $0.high, low: $0.low) })
    }

    /// Writes it durably.
    static func write(_ record: GenerationRecord, _ paths: NodePaths) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let data = try encoder.encode(GenerationFile(record))
        try PEMFile.write(String(decoding: data, as: UTF8.self) + "\n", to: paths.generation, isSecret: false)
    }
}
