import Foundation
import Testing

/// One thing that may not be written, where, and what to write instead.
private struct Ban: Sendable {
    let pattern: String
    let remedy: String
    var applies: @Sendable (String) -> Bool = { _ in true }
    /// Look into comments and texts too.
    var isAboutText = false
}

private let isSource: @Sendable (String) -> Bool = { $0.hasPrefix("Sources/") }
private let isTest: @Sendable (String) -> Bool = { $0.hasPrefix("Tests/") }

private let bans: [Ban] = [
    Ban(
        pattern: #"\bDate\(\s*\)|\bDate\.now\b|\bCFAbsoluteTimeGetCurrent\b|\bgettimeofday\b"#,
        remedy: "the wall clock may jump; take the time as an input, or read it in CLinux at the edge",
        applies: { isSource($0) }),
    Ban(
        pattern: #"\.random\(|\bSystemRandomNumberGenerator\b|\barc4random"#,
        remedy: "chance must come from a seed: use SeededRandom"),
    Ban(pattern: #"\btry!"#, remedy: "handle the error, or let it be thrown"),
    Ban(pattern: #"\bas!"#, remedy: "use `as?` and say what happens otherwise"),
    Ban(
        pattern: #"[A-Za-z0-9_\)\]]!(?!=)(?:[\s\.\),\]\[;:]|$)"#,
        remedy: "unwrap with `guard let`, or use preconditionFailure with a message"),
    Ban(
        pattern: #"(?<![\w\.])(?:print|debugPrint|dump)\("#,
        remedy: "only the command line prints; everything else logs or returns",
        applies: {
            isSource($0) && !$0.hasPrefix("Sources/Node/CommandLine/") && !$0.hasPrefix("Sources/simulate/")
        }),
    Ban(pattern: #"\bfatalError\("#, remedy: "use preconditionFailure with a message that says what was violated"),
    Ban(
        pattern: #"\b(?:TO"# + #"DO|FIX"# + #"ME|XX"# + #"X)\b"#,
        remedy: "do it now, or open an issue", isAboutText: true),
    Ban(
        pattern: #"\bTask\.sleep\b|\bThread\.sleep\b|(?<![\w\.])(?:usleep|sleep|nanosleep)\("#,
        remedy: "a test that sleeps is slow or wrong: step the clock, or wait for the event", applies: isTest),
]

@Suite struct BanTests {
    /// What is written although it is on the list.
    private func banned(in files: [Repository.File]) throws -> [Finding] {
        var findings: [Finding] = []
        for ban in bans {
            let expression = try NSRegularExpression(pattern: ban.pattern)
            for file in files where ban.applies(file.path) && !file.path.hasPrefix("Tests/TidyTests/") {
                for (index, line) in (ban.isAboutText ? file.lines : file.code).enumerated() {
                    let range = NSRange(line.startIndex..., in: line)
                    guard let match = expression.firstMatch(in: line, range: range) else { continue }
                    let found = Range(match.range, in: line).map { String(line[$0]) } ?? ""
                    findings.append(
                        Finding(path: file.path, line: index + 1, text: "`\(found)`: \(ban.remedy)"))
                }
            }
        }
        return findings
    }

    @Test func `nothing on the ban list is written`() throws {
        let findings = try self.banned(in: Repository.swift)
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test(arguments: [
        ("Sources/Node/Daemon/Loop/Daemon.swift", "let now = Date()"),
        ("Sources/Node/Cluster/Supervisor/Supervisor.swift", "let wait = Int.random(in: 0..<9)"),
        ("Sources/Host/Journal.swift", "let text = try! read()"),
        ("Sources/Host/Journal.swift", "let text = value as! String"),
        ("Sources/Host/Journal.swift", "return table[name]!"),
        ("Sources/Node/Daemon/Loop/Daemon.swift", "print(line)"),
        ("Sources/Basis/Time.swift", "fatalError()"),
        ("Tests/NodeTests/LeaseTests.swift", "usleep(1000)"),
    ]) func `what is on the ban list is seen`(path: String, line: String) throws {
        #expect(try !self.banned(in: [Repository.File(path: path, lines: [line], code: [line])]).isEmpty)
    }

    /// Names of clocks, threads, tasks and files in pure files.
    private func impurities(in files: [Repository.File]) throws -> [Finding] {
        let words =
            #"\b(?:ContinuousClock|SuspendingClock|DispatchQueue|Thread|Task|FileManager|FileHandle|Mutex|Atomic|"#
            + #"clock_gettime|pthread_\w+|DispatchTime|ProcessInfo)\b"#
        let expression = try NSRegularExpression(pattern: words)
        return files.filter { isPure($0.path) }.flatMap { file in
            file.code.enumerated().compactMap { index, line in
                let range = NSRange(line.startIndex..., in: line)
                guard let match = expression.firstMatch(in: line, range: range) else { return nil }
                let found = Range(match.range, in: line).map { String(line[$0]) } ?? ""
                return Finding(path: file.path, line: index + 1, text: "`\(found)` in a pure file; take it as an input")
            }
        }
    }

    @Test func `pure files name no clock, thread, task or file`() throws {
        let findings = try self.impurities(in: Repository.sources)
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test(arguments: ["let now = ContinuousClock.now", "Task { await self.step() }", "let lock = Mutex(0)"])
    func `a clock, a task or a lock in a pure file is seen`(line: String) throws {
        let path = "Sources/Node/Cluster/Supervisor/Supervisor.swift"
        #expect(try self.impurities(in: [Repository.File(path: path, lines: [line], code: [line])]).count == 1)
    }

    @Test func `comments and texts are told from code`() {
        let lines = [
            #"let a = "x // y" // print("#, #"/* try! "#, #"still */ let b = #"try! \n"# + "\"#",
            #"let c = "\(f("try!"))" + d"#,
        ]
        let code = SwiftText.blanked(lines)
        #expect(!code.joined().contains("try!"))
        #expect(!code.joined().contains("print"))
        #expect(code[2].contains("let b"))
        #expect(code[3].hasSuffix("+ d"))
    }
}
