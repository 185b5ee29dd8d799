/// Finds the word that somebody probably meant.
package enum Suggestion {
    /// The known word that is nearest to `word`, if any is near enough to be a slip of the fingers.
    package static func nearest(to word: String, among known: [String]) -> String? {
        // No slip of the fingers is this long, and the comparison takes time.
        guard word.utf8.count <= 100 else { return nil }
        let lowered = Array(word.lowercased())
        var best: (word: String, distance: Int)?
        for candidate in known.sorted() where candidate != word {
            let letters = Array(candidate.lowercased())
            var distance = self.distance(lowered, letters)
            if lowered.count >= 3, letters.starts(with: lowered) { distance = min(distance, 1) }
            let allowed = max(1, min(lowered.count, letters.count) / 3)
            if distance <= allowed, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.word
    }

    /// `did you mean X?`, or the list of what is known.
    package static func remedy(for word: String, among known: [String], otherwise: String) -> String {
        if let nearest = self.nearest(to: word, among: known) { return "did you mean `\(nearest)`?" }
        return known.isEmpty ? otherwise : "known are \(self.list(known))"
    }

    /// `a, b and c`, in the order given.
    package static func list(_ words: [String]) -> String {
        guard words.count > 1, let last = words.last else { return words.first ?? "none" }
        return words.dropLast().joined(separator: ", ") + " and " + last
    }

    /// Insertions, deletions, replacements and swaps of neighbours between two words.
    package static func distance(_ left: [Character], _ right: [Character]) -> Int {
        guard !left.isEmpty, !right.isEmpty else { return max(left.count, right.count) }
        var beforeLast = [Int](repeating: 0, count: right.count + 1)
        var last = Array(0...right.count)
        for row in 1...left.count {
            var current = [Int](repeating: row, count: right.count + 1)
            for column in 1...right.count {
                let same = left[row - 1] == right[column - 1]
                current[column] = min(
                    last[column] + 1, current[column - 1] + 1, last[column - 1] + (same ? 0 : 1))
                if row > 1, column > 1, left[row - 1] == right[column - 2], left[row - 2] == right[column - 1] {
                    current[column] = min(current[column], beforeLast[column - 2] + 1)
                }
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
