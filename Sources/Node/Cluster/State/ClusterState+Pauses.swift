import Basis

/// Pauses of nodes that a person announces, such as the end of a migration. (Rule L22)
extension ClusterState {
    /// The longest pause that can be announced: as long as nobody takes over from a node that has died instead.
    package static let longestPause = Span.seconds(300)

    /// Whether a pause of this life of a node is expected at an instant of cluster time.
    func isPauseExpected(of record: NodeRecord, at milliseconds: UInt64) -> Bool {
        milliseconds < record.pauseExpectedUntil
    }

    /// A person expects this life of a node to pause from now on, for so long at most; zero: no longer.
    mutating func expectPause(
        _ node: NodeID, _ incarnation: Incarnation, _ length: Span, at index: LogIndex
    ) -> Outcome {
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        let record = self.nodes[place]
        guard record.incarnation == incarnation else {
            return .refused(.over("\(record.about.name) has begun another life"))
        }
        guard length > .zero else {
            guard self.isPauseExpected(of: record, at: self.clusterMilliseconds) else {
                return .refused(.over("no pause of \(record.about.name) is expected"))
            }
            self.nodes[place].pauseExpectedUntil = 0
            self.note(.node(record.named, .pauseOver), at: index)
            return .accepted
        }
        guard record.standing == .trusted else {
            return .refused(.unfit("\(record.about.name) is not up: what it ran is being taken over already"))
        }
        // Rule L22: whoever dies instead of pausing is waited for no longer than this.
        guard length <= Self.longestPause else {
            return .refused(
                .unfit(
                    "a pause of at most \(Self.longestPause.milliseconds / 1000) s can be expected: shut the node down instead"
                ))
        }
        self.nodes[place].pauseExpectedUntil = self.clusterMilliseconds + length.milliseconds
        self.note(.node(record.named, .pauseExpected(length)), at: index)
        return .accepted
    }
}
