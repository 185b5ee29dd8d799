import Basis
import Cluster
import FoundationEssentials
import Glibc
import Host

/// `facts.json` in the run directory: what a restarted daemon must know of the one before it. (Rule L10)
///
/// It lives on a file system that a reboot empties; it is replaced as a whole and not synced.
enum FactsFile {
    private static let version = Format.facts.version

    private struct Form: Codable {
        struct Group: Codable {
            var name: String
            var generation: UInt32
            var index: UInt64
            var isUp: Bool
            var resources: UInt64
        }
        var version = FactsFile.version
        var bootID: String
        var incarnation: UInt64
        var groups: [Group]
        struct TakenBack: Codable {
            var volume: String
            var mark: UInt64
        }
        /// Absent where there are none.
        var takenBack: [TakenBack]?
    }

    /// Replaces the file; when that fails, removes it.
    static func write(_ facts: Facts, to path: String) throws {
        do {
            try self.replace(path, with: self.text(facts))
        } catch {
            // What the file said is no longer so: the next daemon would adopt what has stopped. (Rule L11.2)
            unlink(path)
            throw error
        }
    }

    /// Replaces a file of the run directory as a whole, without a sync.
    static func replace(_ path: String, with text: String) throws(DriverError) {
        do throws(Files.ReplacementFailure) {
            try Files.replace(path, with: Array(text.utf8), mode: 0o600, isDurable: false)
        } catch {
            let what =
                switch error.step {
                case .create: "it cannot be made"
                case .write: "it cannot be written"
                case .replace: "it cannot be replaced"
                }
            throw self.failure(error.path, what, error.code)
        }
    }

    /// `Form` as JSON, put together by hand: the loop writes it at every start and stop of a group, with all groups in it.
    static func text(_ facts: Facts) -> String {
        var text = #"{"bootID":\#(self.quoted(facts.bootID)),"groups":["#
        text.reserveCapacity(facts.groups.count * 80 + 200)
        for (place, group) in facts.groups.enumerated() {
            if place > 0 { text += "," }
            text += #"{"generation":\#(group.epoch.generation),"index":\#(group.epoch.index),"isUp":\#(group.isUp),"#
            text += #""name":\#(self.quoted(group.name.rawValue)),"resources":\#(group.resources)}"#
        }
        text += #"],"incarnation":\#(facts.incarnation.rawValue),"#
        if !facts.takenBack.isEmpty {
            let copies = facts.takenBack.map { #"{"mark":\#($0.mark),"volume":\#(self.quoted($0.volume.rawValue))}"# }
            text += #""takenBack":[\#(copies.joined(separator: ","))],"#
        }
        text += #""version":\#(Self.version)}"#
        return text + "\n"
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for character in text.unicodeScalars {
            switch character {
            case "\"", "\\": quoted += "\\\(character)"
            case "\u{0}"..."\u{1F}":
                quoted += "\\u" + character.value.hexadecimal(digits: 4)
            default: quoted.unicodeScalars.append(character)
            }
        }
        return quoted + "\""
    }

    private static func failure(_ path: String, _ what: String, _ code: Int32) -> DriverError {
        .file(
            path: path, reason: "\(what): \(SystemText.error(code))",
            remedy: "make room in the run directory, or look at how it is mounted")
    }

    /// What the file says; nil when there is none, or none that is whole. Refuses that of another release.
    static func read(_ path: String) throws(DriverError) -> Facts? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        if let flaw = VersionedFile.flaw(of: .facts, data, path: path) { throw flaw }
        guard let form = try? JSONDecoder().decode(Form.self, from: data) else { return nil }
        return Facts(
            bootID: form.bootID, incarnation: Incarnation(form.incarnation),
            groups: form.groups.map {
                .init(
                    name: GroupName($0.name), epoch: Epoch(generation: $0.generation, index: $0.index), isUp: $0.isUp,
                    resources: $0.resources)
            }, takenBack: (form.takenBack ?? []).map { .init(volume: VolumeName($0.volume), mark: $0.mark) })
    }
}
