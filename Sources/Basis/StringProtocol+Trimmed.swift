extension StringProtocol {
    /// Without white space at both ends.
    package var trimmed: String {
        let rest = self.drop { $0.isWhitespace }
        guard let last = rest.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(rest[...last])
    }
}
