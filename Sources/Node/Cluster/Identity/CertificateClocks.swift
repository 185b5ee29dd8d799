import Basis

/// What most nodes agree that the time is: a certificate is not renewed, nor made, by a clock that is wrong alone.
package struct CertificateClocks {
    /// The middle one of the clocks, in seconds from 1970; nil where too few are heard.
    package let agreedSeconds: UInt64?

    /// As far as this node knows at the moment of the view.
    package init(_ view: SupervisorView) {
        let me = view.supervisor.identity.node
        var clocks = [view.wallMilliseconds]
        // A node without a vote does not hear the others without one by itself, and goes by those that it hears. (Rule J7)
        let circle = view.supervisor.circle(at: view.now).filter { view.supervisor.state.node($0) != nil && $0 != me }
        for (node, receivedAt, summary) in view.supervisor.summaries
        where circle.contains(node) && summary.wallMilliseconds > 0 {
            let age = view.now.since(receivedAt)
            guard age <= Self.freshness else { continue }
            let (clock, overflow) = summary.wallMilliseconds.addingReportingOverflow(age.milliseconds)
            if !overflow { clocks.append(clock) }
        }
        self.agreedSeconds = CertificateLife.agreedSeconds(
            clocks: clocks.map { $0 / 1000 }, nodes: circle.count + 1)
    }

    /// An older word is nothing to go by.
    private static let freshness = Span.seconds(10)
}
