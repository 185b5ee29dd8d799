import Basis

/// The tables of the states of a mirrored volume; docs/states.md shows them.
extension Volume.Peer.Phase: SteppedState {
    /// The phases without the sequences that they wait for.
    enum Name: String, CaseIterable { case down, greeting, copying, settling, confirming, current }

    var name: Name {
        switch self {
        case .down: .down
        case .greeting: .greeting
        case .copying: .copying
        case .settling: .settling
        case .confirming: .confirming
        case .current: .current
        }
    }

    static let steps: [StateStep<Name>] = {
        var steps: [StateStep<Name>] = [
            .init(.down, .greeting, "the connection is up, and the lease holds: `hello` is sent (V24)"),
            .init(.greeting, .copying, "its `welcome` says which marks it has: what may differ is copied"),
            .init(.copying, .settling, "all is copied: a first flush makes the bulk stable"),
            .init(.settling, .confirming, "that is stable: it is waited for from here on, and flushed once more"),
            .init(.confirming, .current, "the second flush is stable: it has everything"),
            .init(.confirming, .copying, "it stalled, or the log took it out of the set"),
            .init(.current, .copying, "it stalled, or the log took it out of the set"),
        ]
        for phase in [Name.copying, .settling, .confirming, .current] {
            steps.append(.init(phase, .greeting, "a new connection took the place of the old one"))
        }
        for phase in Name.allCases where phase != .down { steps.append(.init(phase, .down, "the connection ended")) }
        return steps
    }()
}

extension Volume.Peer.Standing: SteppedState {
    /// The standings without the version that was asked with.
    enum Name: String, CaseIterable { case outside, waitedFor = "waited for", inSet = "in the set" }

    var name: Name {
        switch self {
        case .outside: .outside
        case .waitedFor: .waitedFor
        case .inSet: .inSet
        }
    }

    static let steps: [StateStep<Name>] = [
        .init(.outside, .waitedFor, "the bulk of its copy is stable (V3)"),
        .init(.waitedFor, .inSet, "the log accepted `joins` or `opens` (V5, V7)"),
        .init(.waitedFor, .outside, "it stalled or is gone, and no `joins` of it can be under way (V3)"),
        .init(.inSet, .outside, "the log accepted `leaves` (V4)"),
    ]
}

extension Volume.Opening.Stage: SteppedState {
    /// The stages without the token that they wait for.
    enum Name: String, CaseIterable { case persisting, draining, syncing }

    var name: Name {
        switch self {
        case .persisting: .persisting
        case .draining: .draining
        case .syncing: .syncing
        }
    }

    static let steps: [StateStep<Name>] = [
        .init(.persisting, .draining, "the epoch is on disk (V1)"),
        .init(.draining, .syncing, "what was acknowledged is written (V2)"),
    ]
}
