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
/// The shells, which stand on the floor that `Host` is.
private let isAboveFloor: @Sendable (String) -> Bool = { isSource($0) && !$0.hasPrefix("Sources/Host/") }

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

/// What `Host` does for everybody, each thing once.
private let floor: [Ban] = [
    Ban(
        pattern: #"(?<![\w\.])(?:usleep|sleep|nanosleep|clock_nanosleep)\(|\bThread\.sleep\b"#,
        remedy: "use SystemThread.sleep, or wait in Locked.wait", applies: isAboveFloor),
    Ban(
        pattern: #"\b(?:strerror|strerror_r|perror|strsignal)\b"#,
        remedy: "use SystemText", applies: isAboveFloor),
    Ban(
        pattern: #"\bpthread_(?:create|mutex_\w+|cond_\w+|rwlock_\w+)\b|\bThread\.detach|\bNSLock\b"#,
        remedy: "use SystemThread, and Locked or Mutex", applies: isAboveFloor),
    Ban(
        pattern: #"\bclock_gettime\b|\bholdfast_(?:boot_clock|wall_clock|monotonic)_\w+"#,
        remedy: "use MachineClock", applies: isAboveFloor),
    Ban(
        pattern: #"\bholdfast_lease_\w+|\bHOLDFAST_LEASE_\w+"#,
        remedy: "use LeasePage", applies: isAboveFloor),
    Ban(
        pattern: #"\bposix_spawn\w*|"#
            + #"(?:\bGlibc\.|(?<![\w\.])(?<!func ))(?:fork|vfork|execve|execv|popen|strdup)\(|\bholdfast_spawn\w*"#
            + #"|\bholdfast_pidfd_reap\b"#,
        remedy: "use ProcessStart and ProcessEnd", applies: isAboveFloor),
    Ban(
        pattern: #"(?<![\w\.])(?:Glibc\.)?rename(?:at2?)?\((?![a-z]+:)"#,
        remedy: "use Files.replace or Files.move", applies: { isAboveFloor($0) && !isStore($0) }),
    Ban(
        pattern: #"\bsockaddr_un\b"#,
        remedy: "use UnixAddress", applies: isAboveFloor),
    Ban(
        pattern: #"\bGlibc\.accept4?\b|\bholdfast_accept\b"#,
        remedy: "use SystemSocket.acceptEach",
        // The listener of the links does not block: it is closed while threads wait for it.
        applies: { isAboveFloor($0) && $0 != "Sources/SecureLink/Listener.swift" }),
    Ban(
        pattern: #"\bradix: 16"#,
        remedy: "use hexadecimal(digits:), or parse it where it is read",
        applies: { isSource($0) && !writesNumbers.contains($0) }),
    Ban(
        pattern: #"(?:first|last)Index\(of: ":"\)"#,
        remedy: "use HostPort",
        // What is in the log was accepted by this rule, and is to be accepted again.
        applies: { isSource($0) && !$0.hasSuffix("/Basis/HostPort.swift") && !$0.hasSuffix("/JoiningNode.swift") },
        isAboutText: true),
]

/// Whether a line asks the compiler to believe that threads may share something.
private let isBelieved: @Sendable (String) -> Bool = {
    $0.contains("@unchecked Sendable") || $0.contains("nonisolated(unsafe)")
}

/// Where that is. Each says beside it why it holds: C pointers that the compiler cannot follow, and a disk that is
/// only ever used by one thread.
private let believed: Set<String> = [
    "Sources/Host/Locked.swift", "Sources/Host/LeasePage.swift", "Sources/Mirror/Server/Link/RawBuffer.swift",
    "Sources/SecureLink/NodeSigner.swift",
    "Sources/SecureLink/TLSContext.swift", "Sources/SimulatedDisks/SimulatedBlocks.swift",
    "Sources/SimulatedDisks/SimulatedDisk.swift",
]

/// The stores, which rename through `Disk` or are what it is made of.
private let isStore: @Sendable (String) -> Bool = {
    $0.hasPrefix("Sources/Raft/Storage/") || $0.hasPrefix("Sources/Mirror/Store/")
        || $0.hasPrefix("Sources/Simulator/") || $0.hasPrefix("Sources/SimulatedDisks/")
}

/// Numbers that are read, and short ones in addresses, where zeroes in front are left out.
private let writesNumbers: Set<String> = [
    "Sources/Basis/BinaryInteger+Hexadecimal.swift", "Sources/SecureLink/Sockets.swift",
    "Sources/Host/Files.swift", "Sources/Resources/Planning/Claim.swift",
    "Sources/Resources/Agents/InterfaceAddress.swift", "Sources/simulate/SimulateArguments.swift",
]

@Suite struct BanTests {
    /// What is written although it is on the list.
    private func banned(in files: [Repository.File]) throws -> [Finding] {
        var findings: [Finding] = []
        for ban in bans + floor {
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
        ("Sources/Resources/Agents/VolumeAgent.swift", "while used() { usleep(5000) }"),
        ("Sources/SecureLink/Sockets.swift", "let reason = String(cString: strerror(errno))"),
        ("Sources/Mirror/Server/WorkQueue.swift", "pthread_mutex_lock(self.mutex)"),
        ("Sources/Node/Daemon/Loop/Daemon.swift", "pthread_create(&thread, nil, body, nil)"),
        ("Sources/Node/Daemon/Loop/Daemon.swift", "clock_gettime(CLOCK_BOOTTIME, &time)"),
        ("Sources/Mirror/Server/VolumeServerDevice.swift", "return holdfast_boot_clock_nanoseconds() < end"),
        ("Sources/Resources/Agents/Guard/GuardLoop.swift", "holdfast_lease_store(self.lease, slot, 0)"),
        ("Sources/Node/Daemon/Processes/ChildProcess.swift", "posix_spawn(&pid, path, nil, nil, words, nil)"),
        ("Sources/Node/Daemon/Processes/ChildProcess.swift", "holdfast_spawn(&request, &pid, &pidfd, &stage)"),
        ("Sources/Node/Daemon/Joining/FactsFile.swift", "guard rename(temporary, path) == 0 else { return }"),
        ("Sources/Mirror/Server/ControlSocket.swift", "var address = sockaddr_un()"),
        ("Sources/Mirror/Server/ControlSocket.swift", "let accepted = holdfast_accept(self.listener, 0)"),
        ("Sources/Node/Daemon/Joining/Founding.swift", "let digits = String(number, radix: 16)"),
        ("Sources/Mirror/Server/VolumeServerOptions.swift", #"let colon = text.lastIndex(of: ":")"#),
    ]) func `what is on the ban list is seen`(path: String, line: String) throws {
        #expect(try !self.banned(in: [Repository.File(path: path, lines: [line], code: [line])]).isEmpty)
    }

    /// Conformances that the compiler is told to believe.
    private func unchecked(in files: [Repository.File]) -> [Finding] {
        files.filter { !believed.contains($0.path) }.flatMap { file in
            file.code.enumerated().compactMap { index, line in
                guard isBelieved(line) else { return nil }
                return Finding(
                    path: file.path, line: index + 1,
                    text: "Sendable that nobody checks; put what changes into a Locked or a Mutex")
            }
        }
    }

    @Test func `what threads share is checked by the compiler`() {
        let findings = self.unchecked(in: Repository.sources)
        #expect(findings.isEmpty, "\(report(findings))")
        for path in believed {
            let file = Repository.sources.first { $0.path == path }
            #expect(file?.code.contains(where: isBelieved) == true, "\(path) is not believed any more")
        }
    }

    @Test(arguments: [
        "final class Door: @unchecked Sendable {", "nonisolated(unsafe) var count = 0",
        "extension Door: @unchecked Sendable {}",
    ]) func `what threads share unchecked is seen`(line: String) {
        let path = "Sources/Mirror/Server/VolumeServerDoor.swift"
        #expect(self.unchecked(in: [Repository.File(path: path, lines: [line], code: [line])]).count == 1)
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
