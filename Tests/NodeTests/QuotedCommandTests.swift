import ArgumentParser
import Foundation
import Testing

@testable import CommandLine

@Suite struct `What a sentence tells people to type` {
    /// Parts of the program that are no commands of a person's.
    private static let parts = ["volume-device"]

    /// The commands in backticks of a text, with `7` for what is filled in.
    private static func quoted(in text: String) -> [String] {
        let pieces = text.split(separator: "`", omittingEmptySubsequences: false)
        return pieces.filter { $0.hasPrefix("holdfast ") && !$0.contains("…") && !$0.contains("\n") }.map { piece in
            var rest = piece.dropFirst("holdfast ".count)
            var words = ""
            while let start = rest.range(of: "\\(") {
                words += rest[..<start.lowerBound] + "7"
                var depth = 1
                let end = rest[start.upperBound...].firstIndex { character in
                    depth += character == "(" ? 1 : character == ")" ? -1 : 0
                    return depth == 0
                }
                guard let end else { break }
                rest = rest[rest.index(after: end)...]
            }
            return words + rest
        }
    }

    /// Why a command cannot be typed so; nil if it can, or if only something is left out.
    private static func mistake(in command: String) -> String? {
        let words = command.split(separator: " ").map(String.init)
        guard let first = words.first, first != "7", first != "help", !words.contains("--help") else { return nil }
        if self.parts.contains(first) { return nil }
        do {
            _ = try HoldfastCommand.parseAsRoot(words)
            return nil
        } catch {
            let message = HoldfastCommand.message(for: error)
            return message.contains("Missing expected argument") ? nil : message
        }
    }

    private static let files: [String] = {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let sources =
            FileManager.default.enumerator(atPath: root.appendingPathComponent("Sources").path)?
            .compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }.map { "Sources/\($0)" } ?? []
        let documents =
            FileManager.default.enumerator(atPath: root.appendingPathComponent("docs").path)?
            .compactMap { $0 as? String }.filter { $0.hasSuffix(".md") }.map { "docs/\($0)" } ?? []
        return (sources + documents + ["README.md"]).sorted().map { root.appendingPathComponent($0).path }
    }()

    @Test func `every command that a sentence quotes can be typed as it stands there`() throws {
        var count = 0
        var mistakes: [String] = []
        for path in Self.files {
            for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
                for command in Self.quoted(in: String(line)) {
                    count += 1
                    if let mistake = Self.mistake(in: command) {
                        mistakes.append("\(path): `holdfast \(command)`: \(mistake)")
                    }
                }
            }
        }
        #expect(count > 80)
        #expect(mistakes.isEmpty, "\(mistakes.joined(separator: "\n"))")
    }

    @Test(arguments: [
        "see `holdfast group start \\(name) --declare-nothing`", "`holdfast group strat orders` first",
        "write `holdfast nothing`", "`holdfast events --limit many`",
    ]) func `a command that does not exist is seen`(text: String) {
        #expect(Self.quoted(in: text).compactMap { Self.mistake(in: $0) }.count == 1)
    }
}
