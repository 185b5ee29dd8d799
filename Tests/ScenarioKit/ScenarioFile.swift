import Foundation

/// A text file of directives and the output each must print:
///
///     # why this scenario exists
///     command argument key=value
///     optional input lines
///     ----
///     expected output, up to the first blank line
///
/// `REWRITE=1` in the environment rewrites the file with what was printed; review the difference before committing it.
public struct ScenarioFile {
    /// One directive with its place in the file.
    public struct Directive {
        /// The first word.
        public let command: String
        /// Words without an equals sign, in order.
        public let arguments: [String]
        /// `key=value` words.
        public let options: [String: String]
        /// Lines between the directive and `----`.
        public let input: [String]
        /// The line number of the directive, from 1.
        public let line: Int
    }

    /// What differs between the file and what was printed.
    public struct Mismatch: Error, CustomStringConvertible {
        /// A text that shows the place, what was expected and what was printed.
        public let description: String
    }

    private enum Piece {
        case verbatim(String)
        case directive(Directive, source: [String], expected: [String])
    }

    private let path: String
    private let pieces: [Piece]

    /// Reads and splits the file at `path`.
    public init(path: String) throws {
        self.path = path
        var lines = try String(contentsOfFile: path, encoding: .utf8).components(separatedBy: "\n")
        if lines.last == "" { lines.removeLast() }
        var pieces: [Piece] = []
        var position = 0
        while position < lines.count {
            let line = lines[position]
            if line.trimmingCharacters(in: .whitespaces).isEmpty || line.hasPrefix("#") {
                pieces.append(.verbatim(line))
                position += 1
                continue
            }
            let start = position
            var input: [String] = []
            position += 1
            while position < lines.count, lines[position] != "----" {
                input.append(lines[position])
                position += 1
            }
            guard position < lines.count else {
                throw Mismatch(description: "\(path):\(start + 1): the directive has no ---- line")
            }
            let source = Array(lines[start...position])
            position += 1
            var expected: [String] = []
            while position < lines.count, !lines[position].isEmpty {
                expected.append(lines[position])
                position += 1
            }
            let words = line.split(separator: " ").map(String.init)
            var arguments: [String] = []
            var options: [String: String] = [:]
            for word in words.dropFirst() {
                if let equals = word.firstIndex(of: "=") {
                    options[String(word[..<equals])] = String(word[word.index(after: equals)...])
                } else {
                    arguments.append(word)
                }
            }
            let directive = Directive(
                command: words[0], arguments: arguments, options: options, input: input, line: start + 1)
            pieces.append(.directive(directive, source: source, expected: expected))
        }
        self.pieces = pieces
    }

    /// Runs every directive through `perform`, which returns the lines it printed, and compares.
    public func run(_ perform: (Directive) throws -> [String]) throws {
        let rewrite = ProcessInfo.processInfo.environment["REWRITE"] == "1"
        var output: [String] = []
        for piece in self.pieces {
            switch piece {
            case .verbatim(let line):
                output.append(line)
            case .directive(let directive, let source, let expected):
                let printed = try perform(directive).flatMap { $0.components(separatedBy: "\n") }
                let actual = printed.isEmpty ? ["ok"] : printed.map { $0.isEmpty ? "." : $0 }
                output += source + actual
                if actual != expected, !rewrite {
                    throw Mismatch(
                        description: """
                            \(self.path):\(directive.line): \(source[0])
                            expected:
                            \(expected.joined(separator: "\n"))
                            printed:
                            \(actual.joined(separator: "\n"))
                            (REWRITE=1 rewrites the file)
                            """)
                }
            }
        }
        if rewrite {
            try (output.joined(separator: "\n") + "\n").write(toFile: self.path, atomically: true, encoding: .utf8)
        }
    }

    /// The paths of all `.txt` files in `folder`, sorted.
    public static func files(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".txt") }.sorted().map { folder + "/" + $0 }
    }
}
