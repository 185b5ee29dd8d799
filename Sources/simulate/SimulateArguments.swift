import Basis
import Glibc
import Simulator

/// The command line of `simulate`.
struct SimulateArguments {
    private var seeds: [UInt64] = []
    private var firstSeed: UInt64?
    private var runs = 20
    private var minutes: UInt64 = 30
    private var nodes: Int?
    private var hasFaults = true
    private var hasEdits = false
    private var hasShutDowns = false
    private var features = SimulationOptions.Features.none
    private var featureWords = "none"
    private var reverts: SimulationOptions.Reverts?
    private var isVerbose = false
    private var sabotage = ""
    private var isTwice = false
    private var endsWithFailure = false

    init(_ words: some Sequence<String>) {
        var rest = Array(words)
        func value(_ flag: String) -> String {
            guard !rest.isEmpty else { Self.stop("\(flag) needs a value") }
            return rest.removeFirst()
        }
        func number(_ flag: String) -> UInt64 {
            let text = value(flag)
            guard let number = UInt64(text) else { Self.stop("\(flag) needs a number, not \(text)") }
            return number
        }
        func length(_ flag: String, minutesEach: UInt64) -> UInt64 {
            let most = SimulationOptions.longestMinutes / minutesEach
            let given = number(flag)
            guard given <= most else { Self.stop("\(flag) may be at most \(most), not \(given)") }
            return given * minutesEach
        }
        while !rest.isEmpty {
            let flag = rest.removeFirst()
            switch flag {
            case "--seed": self.firstSeed = number(flag)
            case "--seeds": self.seeds = value(flag).split(separator: ",").compactMap { UInt64($0) }
            case "--runs": self.runs = Int(number(flag))
            case "--minutes": self.minutes = length(flag, minutesEach: 1)
            case "--hours": self.minutes = length(flag, minutesEach: 60)
            case "--nodes":
                let nodes = number(flag)
                guard (3...UInt64(SimulationOptions.mostNodes)).contains(nodes) else {
                    Self.stop("\(flag) is 3 to \(SimulationOptions.mostNodes), not \(nodes)")
                }
                self.nodes = Int(nodes)
            case "--calm": self.hasFaults = false
            case "--edits": self.hasEdits = true
            case "--shutdowns": self.hasShutDowns = true
            case "--reverts":
                let word = value(flag)
                guard let reverts = SimulationOptions.Reverts(rawValue: word) else {
                    Self.stop("\(flag) is none, few or many, not \(word)")
                }
                self.reverts = reverts
            case "--features":
                self.featureWords = value(flag)
                self.features = Self.features(self.featureWords)
            case "--verbose": self.isVerbose = true
            case "--twice": self.isTwice = true
            case "--until-failure": self.endsWithFailure = true
            case "--sabotage": self.sabotage = value(flag)
            default: Self.stop("unknown option \(flag)")
            }
        }
    }

    private static func features(_ words: String) -> SimulationOptions.Features {
        switch words {
        case "none": return .none
        case "drawn": return .drawn
        case "all": return .chosen(SimulationFeature.allCases)
        default:
            return .chosen(
                words.split(separator: ",").map { word in
                    guard let feature = SimulationFeature(rawValue: String(word)) else {
                        let all = SimulationFeature.allCases.map(\.rawValue).joined(separator: ", ")
                        stop("--features is none, drawn, all, or some of \(all), not \(word)")
                    }
                    return feature
                })
        }
    }

    private static func stop(_ text: String) -> Never {
        let said = """
            simulate: \(text)
            usage: simulate [--seed N | --seeds A,B,C] [--runs K] [--minutes M | --hours H] [--nodes 3...32] [--calm]
                            [--edits] [--shutdowns] [--reverts none|few|many] [--features none|drawn|all|A,B]
                            [--twice] [--until-failure] [--verbose] [--sabotage RULE]\n
            """
        Self.complain(said)
        exit(2)
    }

    /// Says it where nothing is buffered: a process that stops in the middle has said it.
    private static func complain(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    mutating func run() {
        if self.seeds.isEmpty {
            let first = self.firstSeed ?? UInt64(getpid()) &* 2_654_435_761 % 1_000_000_000
            self.seeds = (0..<UInt64(self.runs)).map { first + $0 }
            print("seeds \(first) to \(first + UInt64(self.runs) - 1), \(self.minutes) simulated minutes each")
        }
        let began = ContinuousClock.now
        var totals: [String: UInt64] = [:]
        var simulated: UInt64 = 0
        var events: UInt64 = 0
        var (played, failures) = (0, 0)
        var digest: UInt64 = 0xCBF2_9CE4_8422_2325
        for seed in self.seeds where failures == 0 || !self.endsWithFailure {
            if self.endsWithFailure { Self.complain("seed \(seed) begins\n") }
            let result = self.simulate(seed)
            played += 1
            simulated += result.simulated.nanoseconds / 1_000_000
            events += result.events
            digest = (digest ^ result.digest) &* 0x100_0000_01B3
            for (what, count) in result.counts { totals[what, default: 0] += count }
            var problem = result.violation
            if problem == nil, self.isTwice, self.simulate(seed).digest != result.digest {
                problem = "Determinism: a second run of the seed gave another digest"
            }
            guard let problem else { continue }
            failures += 1
            for line in result.trace { print("    \(line)") }
            print("seed \(seed): \(problem)")
            let flags =
                (self.hasEdits ? ["--edits"] : []) + (self.hasShutDowns ? ["--shutdowns"] : [])
                + (self.featureWords == "none" ? [] : ["--features \(self.featureWords)"])
                + (self.reverts.map { ["--reverts \($0.rawValue)"] } ?? [])
            print(
                "replay: make simulate SEED=\(seed) MINUTES=\(self.minutes)\(self.nodes.map { " NODES=\($0)" } ?? "")"
                    + (flags.isEmpty ? "" : " FLAGS='\(flags.joined(separator: " "))'"))
        }
        let elapsed = ContinuousClock.now - began
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        let hours = Double(simulated) / 3_600_000
        print("\(totals.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))")
        print(
            "\(Amounts.fixed(hours, 1)) cluster-hours in \(Amounts.fixed(seconds, 1)) s: "
                + "\(Amounts.fixed(hours / seconds * 60, 0)) cluster-hours a minute, "
                + "\(Amounts.fixed(Double(events) / seconds, 0)) events a second")
        print("digest \(String(digest, radix: 16)): another process must print the same for the same seeds")
        print("\(played - failures) passed, \(failures) failed")
        exit(failures == 0 ? 0 : 1)
    }

    private func simulate(_ seed: UInt64) -> SimulationResult {
        var options = SimulationOptions(seed: seed, length: .seconds(self.minutes * 60))
        options.hasFaults = self.hasFaults
        options.hasEdits = self.hasEdits
        options.hasShutDowns = self.hasShutDowns
        if let reverts = self.reverts { options.reverts = reverts }
        options.features = self.features
        options.nodes = self.nodes
        options.sabotage = self.sabotage
        options.isVerbose = self.isVerbose
        let simulation = Simulation(options: options)
        if self.isVerbose { simulation.verbose = { print($0) } }
        return simulation.run()
    }
}
