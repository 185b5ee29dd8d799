/// Follows the cluster until something is so.
struct Waiting {
    let client: APIClient
    let console: Console
    let timeoutMilliseconds: UInt64
    /// What a node says before it knows this log index is old news.
    let afterIndex: UInt64
    /// The time between two looks, in milliseconds.
    var intervalMilliseconds: UInt64 = 250

    /// What a look at the cluster says.
    enum Verdict {
        case done
        /// Not yet; `sentence` says how it stands.
        case notYet(String)
        /// It will not come to be by itself.
        case hopeless(APIFailure)
    }

    /// Waits until `judge` says done. Shows progress of volumes on a terminal. Throws `timeout` when it takes too long.
    func until(
        _ what: String, volumes: @Sendable (StatusReport) -> [VolumeReport] = { _ in [] },
        judge: @Sendable (StatusReport) -> Verdict
    ) async throws {
        let start = self.console.milliseconds()
        var progress = ResyncProgress(console: self.console)
        defer { progress.finish() }
        var hopelessLooks = 0
        while true {
            var standing = ""
            switch try await self.look() {
            case .failure(let failure): standing = failure.message
            case .success(let report) where report.commitIndex < self.afterIndex:
                standing = "\(report.servedBy) does not know of it yet"
            case .success(let report):
                progress.show(volumes(report), at: self.console.milliseconds())
                let verdict = judge(report)
                if case .done = verdict { return }
                if case .notYet(let sentence) = verdict {
                    standing = sentence
                    hopelessLooks = 0
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
        do {
            return .success(try await self.client.status())
        } catch let failure as APIFailure where failure.code == .error || failure.code == .timeout {
            return .failure(failure)
        }
    }

    /// The verdict on one group that should come to be in `state`, on `owner` unless nil.
    static func group(_ name: String, _ state: GroupReport.State, owner: String?, in report: StatusReport) -> Verdict {
        guard let group = report.groups.first(where: { $0.name == name }) else {
            return .hopeless(
                APIFailure(
                    .notFound, "the group `\(name)` is gone from the configuration", remedy: "see `holdfast plan`"))
        }
        if group.state == state, owner == nil || group.owner == owner { return .done }
        if state == .running, group.state == .parked || group.state == .failed {
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
