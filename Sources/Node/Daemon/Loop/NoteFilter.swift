import Basis

/// Keeps a note that repeats itself from filling the log: the same text at most once in ten seconds.
struct NoteFilter {
    private static let pause = Span.seconds(10)
    private var recent: [(text: String, at: Tick, repeats: Int)] = []

    /// The line to write; nil when it was written a moment ago.
    mutating func admit(_ text: String, at now: Tick) -> String? {
        if let place = self.recent.firstIndex(where: { $0.text == text }) {
            if now.since(self.recent[place].at) < Self.pause {
                self.recent[place].repeats += 1
                return nil
            }
            let repeats = self.recent[place].repeats
            self.recent[place] = (text, now, 0)
            return repeats == 0 ? text : "\(text) (\(repeats) times more since the last line)"
        }
        if self.recent.count >= 64 { self.recent.removeFirst() }
        self.recent.append((text, now, 0))
        return text
    }
}
