import Basis
import Glibc
import Simulator

/// `simulate lines`: consensus alone over lines as they are between sites.
enum LinesArguments {
    private static let usage = """
        usage: simulate lines [--hours H] [--round-trip MS] [--jitter MS] [--loss PER-MILLE] [--datagrams] [--pause MS]
                              [--disk MS] [--deaths N] [--nodes 3...7] [--fixed] [--seed N]\n
        """

    static func run(_ words: some Sequence<String>) -> Never {
        var rest = Array(words)
        var options = LineStudyOptions(seed: 1, length: .seconds(24 * 3600))
        func number(_ flag: String, _ most: UInt64) -> UInt64 {
            guard let text = rest.first, let number = UInt64(text), number <= most else {
                self.stop("\(flag) needs a number up to \(most)")
            }
            rest.removeFirst()
            return number
        }
        while !rest.isEmpty {
            let flag = rest.removeFirst()
            switch flag {
            case "--hours": options.length = .seconds(max(1, number(flag, 100_000)) * 3600)
            case "--round-trip": options.roundTrip = .milliseconds(number(flag, 10_000))
            case "--jitter": options.jitter = .milliseconds(number(flag, 10_000))
            case "--loss": options.lossPerMille = number(flag, 900)
            case "--datagrams": options.areDatagrams = true
            case "--pause": options.pause = .milliseconds(number(flag, 1000))
            case "--disk": options.disk = .milliseconds(number(flag, 10_000))
            case "--deaths": options.deaths = number(flag, 10_000)
            case "--nodes": options.nodes = UInt32(min(max(number(flag, 7), 3), 7))
            case "--fixed": options.isPatienceFixed = true
            case "--seed": options.seed = number(flag, .max)
            default: self.stop("unknown option \(flag)")
            }
        }
        var study = LineStudy(options)
        self.show(study.run(), of: options)
    }

    private static func show(_ result: LineStudyResult, of options: LineStudyOptions) -> Never {
        for (at, said) in result.falseElections.prefix(20) {
            print("a leader that lived was replaced at \(Amounts.fixed(Double(at.nanoseconds) / 3.6e12, 3)) h:")
            for line in said { print("    \(line)") }
        }
        print(
            "\(Amounts.fixed(Double(options.length.milliseconds) / 3_600_000, 0)) hours, \(result.events) events: "
                + "\(result.falseElections.count) false elections, \(result.questions) questions for pre-votes; "
                + "patience up to \(result.longestPatience)")
        let failovers = result.failovers.sorted { $0 < $1 }
        if let longest = failovers.last {
            print(
                "\(failovers.count) deaths of a leader: another led after \(failovers[failovers.count / 2]) (median), "
                    + "\(longest) (longest)")
        }
        exit(0)
    }

    private static func stop(_ text: String) -> Never {
        let said = "simulate lines: \(text)\n\(self.usage)"
        _ = Array(said.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(2)
    }
}
