private let space = UInt8(ascii: " ")
private let hash = UInt8(ascii: "#")
private let quotation = UInt8(ascii: "\"")
private let backslash = UInt8(ascii: "\\")
private let opening = UInt8(ascii: "(")
private let closing = UInt8(ascii: ")")

private func bytes(_ text: StaticString) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
}

/// Just enough of Swift's grammar to tell code from comments and text.
enum SwiftText {
    private enum State: Equatable {
        case code
        case blockComment(depth: Int)
        case text(isMultiline: Bool, hashes: Int, parentheses: [Int])
    }

    /// The same lines with comments and the contents of string literals replaced by spaces. What is interpolated is
    /// text here too: nothing that the tidy tests look for belongs there. With `keepsTexts` only comments are replaced.
    static func blanked(_ lines: [String], keepsTexts: Bool = false) -> [String] {
        var state = State.code
        return lines.map { line in
            var output: [UInt8] = []
            let characters = Array(line.utf8)
            var position = 0
            while position < characters.count {
                var isText = false
                if case .text = state { isText = true }
                let step = SwiftText.step(characters, position, &state)
                output += isText && keepsTexts ? Array(characters[position..<(position + step.length)]) : step.kept
                position += step.length
            }
            if case .text(isMultiline: false, _, _) = state { state = .code }
            return String(decoding: output, as: UTF8.self)
        }
    }

    private static func step(
        _ characters: [UInt8], _ position: Int, _ state: inout State
    ) -> (kept: [UInt8], length: Int) {
        func follows(_ text: StaticString) -> Bool { characters[position...].starts(with: bytes(text)) }
        func blank(_ count: Int) -> (kept: [UInt8], length: Int) { (Array(repeating: space, count: count), count) }
        switch state {
        case .code:
            if follows("//") { return blank(characters.count - position) }
            if follows("/*") {
                state = .blockComment(depth: 1)
                return blank(2)
            }
            let hashes = characters[position...].prefix { $0 == hash }.count
            let rest = characters[(position + hashes)...]
            if rest.starts(with: [quotation, quotation, quotation]) {
                state = .text(isMultiline: true, hashes: hashes, parentheses: [])
                return (Array(repeating: hash, count: hashes) + [quotation, quotation, quotation], hashes + 3)
            }
            if rest.first == quotation {
                state = .text(isMultiline: false, hashes: hashes, parentheses: [])
                return (Array(repeating: hash, count: hashes) + [quotation], hashes + 1)
            }
            return ([characters[position]], 1)
        case .blockComment(let depth):
            if follows("*/") {
                state = depth == 1 ? .code : .blockComment(depth: depth - 1)
                return blank(2)
            }
            if follows("/*") {
                state = .blockComment(depth: depth + 1)
                return blank(2)
            }
            return blank(1)
        case .text(let isMultiline, let hashes, let parentheses):
            return SwiftText.text(characters, position, isMultiline, hashes, parentheses, &state)
        }
    }

    private static func text(
        _ characters: [UInt8], _ position: Int, _ isMultiline: Bool, _ hashes: Int, _ parentheses: [Int],
        _ state: inout State
    ) -> (kept: [UInt8], length: Int) {
        func blank(_ count: Int) -> (kept: [UInt8], length: Int) { (Array(repeating: space, count: count), count) }
        let mark = Array(repeating: hash, count: hashes)
        let quote = Array(repeating: quotation, count: isMultiline ? 3 : 1) + mark
        if let depth = parentheses.last {
            // Inside \( … ): only parentheses count, so that a quoted text within does not end the literal.
            let change = characters[position] == opening ? 1 : characters[position] == closing ? -1 : 0
            var left = parentheses
            left[left.count - 1] = depth + change
            if left[left.count - 1] == 0 { left.removeLast() }
            state = .text(isMultiline: isMultiline, hashes: hashes, parentheses: left)
            return blank(1)
        }
        if characters[position...].starts(with: [backslash] + mark + [opening]) {
            state = .text(isMultiline: isMultiline, hashes: hashes, parentheses: [1])
            return blank(2 + hashes)
        }
        if hashes == 0, characters[position] == backslash, position + 1 < characters.count { return blank(2) }
        if characters[position...].starts(with: quote) {
            state = .code
            return (quote, quote.count)
        }
        return blank(1)
    }

    /// The functions of a file as (name, first line, number of lines), found by counting braces.
    static func functions(in code: [String]) -> [(name: String, line: Int, length: Int)] {
        var found: [(name: String, line: Int, length: Int)] = []
        for (index, line) in code.enumerated() {
            guard let name = SwiftText.declaredFunction(line) else { continue }
            var depth = 0
            var hasBody = false
            var last = index
            search: for (offset, body) in code[index...].enumerated() {
                for character in body {
                    if character == "{" {
                        depth += 1
                        hasBody = true
                    } else if character == "}" {
                        depth -= 1
                    }
                    if hasBody, depth == 0 {
                        last = index + offset
                        break search
                    }
                    if depth < 0 { break search }
                }
                // A requirement of a protocol has no body: the next declaration begins before a brace.
                if !hasBody, offset > 0, SwiftText.declaredFunction(body) != nil { break search }
            }
            if hasBody, last > index { found.append((name, index + 1, last - index + 1)) }
        }
        return found
    }

    private static func declaredFunction(_ line: String) -> String? {
        let words = line.split { $0 == " " || $0 == "(" || $0 == "<" }
        guard let place = words.firstIndex(where: { $0 == "func" || $0 == "init" || $0 == "init?" }) else { return nil }
        let modifiers: Set<Substring> = [
            "public", "private", "internal", "fileprivate", "package", "static", "mutating", "nonisolated", "override",
            "final", "class", "convenience", "required", "@discardableResult", "@inline", "__always)", "async",
            "@inlinable", "@Test", "borrowing", "consuming", "@usableFromInline", "@concurrent",
        ]
        guard words[..<place].allSatisfy({ modifiers.contains($0) || $0.hasPrefix("@") }) else { return nil }
        if words[place] != "func" { return String(words[place]) }
        return place + 1 < words.count ? String(words[place + 1]) : nil
    }
}
