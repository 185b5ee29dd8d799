import Basis
import Testing

@Suite struct `Text from outside` {
    @Test func `text from outside becomes one bounded line that moves no cursor`() {
        #expect(ForeignText.line("all is well") == "all is well")
        #expect(ForeignText.line("\u{1B}[2J\u{1B}[Hall\tis\u{7F}well\u{9B}") == "\\x1b[2J\\x1b[Hall is\\x7fwell\\x9b")
        #expect(ForeignText.line("first\r\nlast\r\n") == "first\\x0d\\x0alast\\x0d\\x0a")
        #expect(ForeignText.line("a\u{202E}b\u{2028}c") == "a\\u202eb\\u2028c")
        #expect(ForeignText.line("日本語 ok") == "日本語 ok")
        let long = ForeignText.line(String(repeating: "x", count: 60_000))
        #expect(long.count == 200 && long.hasSuffix("x…"))
        #expect(ForeignText.line(String(repeating: "\u{1B}", count: 300)).unicodeScalars.count <= 200)
        #expect(ForeignText.line("a" + String(repeating: "\u{301}", count: 60_000)).unicodeScalars.count == 200)
    }

    @Test func `the last lines of a text are found whatever ends them`() {
        #expect(ForeignText.lines("a\r\nb\n\n  \rc") == ["a", "b", "c"])
        #expect(ForeignText.lastLines("first\r\nlast\r\n") == "last")
        #expect(ForeignText.lastLines("one\ntwo\nthree\nfour\n", count: 3) == "two | three | four")
        #expect(ForeignText.lastLines(" \n\r\n") == nil)
    }
}
