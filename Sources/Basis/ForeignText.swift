/// Text that was written by somebody else (an agent, a check, a peer, an operator), on its way to a log or a screen.
///
/// It becomes one line of bounded length, in which nothing can move a cursor, clear a screen, or pretend to be the next
/// line. Bounds are in Unicode scalars.
public enum ForeignText {
    /// What one quotation may take.
    public static let lengthMaximum = 200

    /// The text as one line: control characters are written as `\x1b`, direction marks as `\u202e`, a tab is a space, and
    /// what is longer than `limit` ends in `…`.
    public static func line(_ text: some StringProtocol, limit: Int = ForeignText.lengthMaximum) -> String {
        // Nearly everything is plain, and short; its bytes are looked at where they lie.
        let isPlain = text.utf8.withContiguousStorageIfAvailable { bytes in
            bytes.count <= limit && bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
        }
        if isPlain == true { return String(text) }
        var result = String.UnicodeScalarView()
        var count = 0
        for scalar in text.unicodeScalars {
            let shown = self.shown(scalar)
            guard count + shown.count <= limit else {
                while count >= limit, !result.isEmpty {
                    result.removeLast()
                    count -= 1
                }
                result.append("…")
                break
            }
            result.append(contentsOf: shown)
            count += shown.count
        }
        return String(result)
    }

    /// The lines of a text that are not blank, each ended by `\n`, `\r` or both, as a terminal would show them.
    public static func lines(_ text: some StringProtocol) -> [String] {
        // By scalars: to Swift `\r\n` is one character, and neither of the two.
        text.unicodeScalars.split { $0 == "\n" || $0 == "\r" }.map { String(String.UnicodeScalarView($0)) }
            .filter { !$0.allSatisfy(\.isWhitespace) }
    }

    /// The last lines that are not blank, at most `count`, as one line.
    public static func lastLines(
        _ text: some StringProtocol, count: Int = 1, limit: Int = ForeignText.lengthMaximum
    ) -> String? {
        let lines = self.lines(text).suffix(count)
        return lines.isEmpty ? nil : self.line(lines.joined(separator: " | "), limit: limit)
    }

    private static func shown(_ scalar: Unicode.Scalar) -> String.UnicodeScalarView {
        switch scalar.value {
        case 0x09: String.UnicodeScalarView([" "])
        case 0..<0x20, 0x7F..<0xA0: self.escaped("\\x", scalar.value, digits: 2)
        case 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF: self.escaped("\\u", scalar.value, digits: 4)
        default: String.UnicodeScalarView([scalar])
        }
    }

    private static func escaped(_ prefix: String, _ value: UInt32, digits: Int) -> String.UnicodeScalarView {
        (prefix + value.hexadecimal(digits: digits)).unicodeScalars
    }
}
