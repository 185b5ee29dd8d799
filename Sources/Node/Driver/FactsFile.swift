import Basis
import Foundation
import Resources

/// `facts.json` in the run directory: what a restarted daemon must know of the one before it. (Rule L10)
///
/// It lives on a file system that a reboot empties; it is replaced as a whole and not synced.
enum FactsFile {
    private struct Form: Codable {
        struct Group: Codable {
            var name: String
            var generation: UInt32
            var index: UInt64
            var isUp: Bool
            var resources: UInt64
        }
        var version = 2
        var bootID: String
        var incarnation: UInt64
        var groups: [Group]
    }

    /// Replaces the file; when that fails, removes it.
    static func write(_ facts: Facts, to path: String) throws {
        let form = Form(
            bootID: facts.bootID, incarnation: facts.incarnation.rawValue,
            groups: facts.groups.map {
                .init(
                    name: $0.name.rawValue, generation: $0.epoch.generation, index: $0.epoch.index, isUp: $0.isUp,
                    resources: $0.resources)
            })
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            try encoder.encode(form).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            // What the file said is no longer so: the next daemon would adopt what has stopped. (Rule L11.2)
            try? FileManager.default.removeItem(atPath: path)
            throw error
        }
    }

    /// What the file says; nil when there is none, or none that can be trusted.
    static func read(_ path: String) -> Facts? {
        guard let data = FileManager.default.contents(atPath: path),
            let form = try? JSONDecoder().decode(Form.self, from: data), form.version == 2
        else { return nil }
        return Facts(
            bootID: form.bootID, incarnation: Incarnation(form.incarnation),
            groups: form.groups.map {
                .init(
                    name: GroupName($0.name), epoch: Epoch(generation: $0.generation, index: $0.index), isUp: $0.isUp,
                    resources: $0.resources)
            })
    }
}
