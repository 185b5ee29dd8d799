import API
import Basis
import Reports

/// Follows the cluster until something is so.
struct Waiting {
    let client: APIClient
    let console: Console
    let timeoutMilliseconds: UInt64
    /// What a node says before it knows this log index is old news.
    let afterIndex: UInt64
    /// The time between two looks, in milliseconds.
    var intervalMilliseconds: UInt64 = 250
    /// What is asked again while it has not come to be, for what the cluster gives up after a while.
    var askAgain: (@Sendable () async throws -> Void)?
    /// The time between two of these, in milliseconds.
    var askIntervalMilliseconds: UInt64 = 5_000

    /// What a look at the cluster says.
    enum Verdict {
        case done
        /// Not yet; `sentence` says how it stands.
        case notYet(String)
        /// It will not come to be by itself.
        case hopeless(APIFailure)
    }

    /// Waits until `judge` says done, in so many looks one after the other. Shows progress of volumes on a terminal. Throws
    /// `timeout` when it takes too long.
    func until(
        _ what: String, looks: Int = 1, volumes: @Sendable (StatusReport) -> [VolumeReport] = { _ in [] },
        judge: @Sendable (StatusReport) -> Verdict
    ) async throws {
        let start = self.console.milliseconds()
        var progress = ResyncProgress(console: self.console)
        defer { progress.finish() }
        var hopelessLooks = 0
        var doneLooks = 0
        var askedAt = start
        while true {
            var standing = ""
            switch try await self.look() {
            case .failure(let failure): standing = failure.message
            case .success(let report) where report.commitIndex < self.afterIndex:
                standing = "\(report.servedBy) does not know of it yet"
            case .success(let report):
                progress.show(volumes(report), at: self.console.milliseconds())
                let verdict = judge(report)
                if case .done = verdict {
                    doneLooks += 1
                    if doneLooks >= looks { return }
                    standing = "it is so since a moment ago"
                } else {
                    doneLooks = 0
                }
                if case .notYet(let sentence) = verdict {
                    standing = sentence
                    hopelessLooks = 0
                    let now = self.console.milliseconds()
                    if let askAgain = self.askAgain, now - askedAt >= self.askIntervalMilliseconds {
                        askedAt = now
                        try await self.tolerant { try await askAgain() }
                    }
                }
                if case .hopeless(let failure) = verdict {
                    standing = failure.message
                    hopelessLooks += 1
                    // What is hopeless may be what it was before the command; only what stays so counts.
                    if hopelessLooks >= 4 { throw failure }
                }
            }
            let spent = self.console.milliseconds() - start
            guard spent < self.timeoutMilliseconds else {
                throw APIFailure(
                    .timeout,
                    "\(what) has not happened within \(Amounts.age(Double(self.timeoutMilliseconds) / 1000)): "
                        + standing,
                    remedy: "it may still happen: see `holdfast status`, or wait longer with --timeout")
            }
            try await self.console.pause(self.intervalMilliseconds)
        }
    }

    /// One look; a daemon that restarts for an upgrade is away for a moment, so only other failures are thrown.
    private func look() async throws -> Result<StatusReport, APIFailure> {
        try await self.tolerant { try await self.client.status() }
    }

    @discardableResult
    private func tolerant<Answer>(_ question: () async throws -> Answer) async throws -> Result<Answer, APIFailure> {
        do {
            return .success(try await question())
        } catch let failure as APIFailure where failure.code == .error || failure.code == .timeout {
            return .failure(failure)
        }
    }

    /// Waits until every group that a new configuration touches stands as it asks: it runs, is stopped because an operator
    /// wants it so, or is gone. Throws as soon as one has been given up.
    func untilApplied(_ result: MutationResult) async throws {
        let (index, touched) = (result.index, result.touched)
        // A service that dies right after its start was running for a moment.
        try await self.until("what the configuration asks for", looks: touched.isEmpty ? 1 : 4) { report in
            guard report.policyIndex >= index else { return .notYet("\(report.servedBy) has not applied it yet") }
            let groups = report.groups.filter { touched.contains($0.name) }
            // A node that has not applied it yet says how things were before.
            for node in report.nodes where groups.contains(where: { $0.owner == node.name }) {
                guard report.commitIndex - (node.appliedIndexLag ?? 0) < index else { continue }
                return .notYet("\(node.name) has not applied it yet")
            }
            let verdicts = groups.map { Self.standing(of: $0) }
            let hopeless = verdicts.first {
                if case .hopeless = $0 { return true }
                return false
            }
            let unfinished = verdicts.first {
                if case .notYet = $0 { return true }
                return false
            }
            return hopeless ?? unfinished ?? .done
        }
    }

    private static func standing(of group: GroupReport) -> Verdict {
        let reason = group.reason.isEmpty ? "" : ": \(group.reason)"
        // Without a list of nodes it is no longer in the configuration: it is listed until it has stopped.
        if group.nodes.isEmpty { return .notYet("\(group.name) is \(group.state.rawValue)\(reason)") }
        switch group.state {
        case .running, .stopped: return .done
        case .failed, .parked: break
        case .waiting where group.hasGivenUp: break
        case .starting, .stopping, .moving, .waiting:
            return .notYet("\(group.name) is \(group.state.rawValue)\(reason)")
        }
        return .hopeless(
            APIFailure(
                .error, "\(group.name) is \(group.state.rawValue)\(reason)",
                remedy: "run `holdfast explain \(group.name)`, correct the cause, then "
                    + "`holdfast group start \(group.name)`"))
    }

    /// The verdict on a move to `target`, or, when that is nil, away from `origin`.
    static func move(_ name: String, to target: String?, from origin: String?, in report: StatusReport) -> Verdict {
        let verdict = self.group(name, .running, owner: target, in: report)
        guard let group = report.groups.first(where: { $0.name == name }), group.state == .running else {
            return verdict
        }
        let isElsewhere = target.map { group.owner != $0 } ?? (origin != nil && group.owner == origin)
        guard isElsewhere else { return verdict }
        let place = group.owner ?? "its node"
        if let wanted = group.movingTo { return .notYet("\(name) still runs on \(place), and is to go to \(wanted)") }
        return .hopeless(
            APIFailure(
                .error, "\(name) runs on \(place): \(target ?? "the other node") did not keep it",
                remedy: "run `holdfast explain \(name)`, correct the cause, then move it again"))
    }

    /// The verdict on one group that should come to be in `state`, on `owner` unless nil.
    static func group(_ name: String, _ state: GroupReport.State, owner: String?, in report: StatusReport) -> Verdict {
        guard let group = report.groups.first(where: { $0.name == name }) else {
            return .hopeless(
                APIFailure(
                    .notFound, "the group `\(name)` is gone from the configuration", remedy: "see `holdfast plan`"))
        }
        if group.state == state, owner == nil || group.owner == owner { return .done }
        if state == .running, group.state == .parked || group.state == .failed || group.hasGivenUp {
            return .hopeless(
                APIFailure(
                    .error, "\(name) is \(group.state.rawValue): \(group.reason)",
                    remedy: "run `holdfast explain \(name)`, correct the cause, then `holdfast group start \(name)`"))
        }
        let place = group.owner.map { " on \($0)" } ?? ""
        return .notYet("\(name) is \(group.state.rawValue)\(place)" + (group.reason.isEmpty ? "" : ": \(group.reason)"))
    }
}

/// Bars on standard error for every copy that is being compared; nothing unless that is a terminal.
struct ResyncProgress {
    let console: Console
    private var first: [String: (at: UInt64, remaining: UInt64)] = [:]
    private var shownLines = 0

    init(console: Console) { self.console = console }

    /// The lines for these volumes.
    mutating func lines(_ volumes: [VolumeReport], at milliseconds: UInt64) -> [String] {
        var lines: [String] = []
        for volume in volumes {
            for replica in volume.replicas where replica.resyncTotalBytes > 0 {
                let key = "\(volume.name) on \(replica.node)"
                let known = self.first[key]
                if known == nil || (known?.remaining ?? 0) < replica.resyncRemainingBytes {
                    self.first[key] = (milliseconds, replica.resyncRemainingBytes)
                }
                let start = self.first[key] ?? (milliseconds, replica.resyncRemainingBytes)
                let elapsed = Double(milliseconds - start.at) / 1000
                let moved = Double(start.remaining - min(start.remaining, replica.resyncRemainingBytes))
                lines.append(
                    ProgressBar.text(
                        label: key,
                        done: replica.resyncTotalBytes - min(replica.resyncTotalBytes, replica.resyncRemainingBytes),
                        total: replica.resyncTotalBytes, bytesPerSecond: elapsed >= 1 ? moved / elapsed : nil))
            }
        }
        return lines
    }

    /// Draws over what was drawn before.
    mutating func show(_ volumes: [VolumeReport], at milliseconds: UInt64) {
        guard self.console.errorIsTerminal else { return }
        let lines = self.lines(volumes, at: milliseconds)
        var text = self.shownLines > 0 ? "\u{1B}[\(self.shownLines)A\u{1B}[J" : ""
        text += lines.map { $0 + "\n" }.joined()
        if !text.isEmpty { self.console.writeError(text) }
        self.shownLines = lines.count
    }

    /// Removes the bars.
    mutating func finish() {
        if self.shownLines > 0 { self.console.writeError("\u{1B}[\(self.shownLines)A\u{1B}[J") }
        self.shownLines = 0
    }
}
