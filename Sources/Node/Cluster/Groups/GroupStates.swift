import Basis

/// The tables of the states of a group and of its resources; docs/states.md shows them.
extension GroupRunner.Goal: SteppedState {
    /// The goals without the failure that they may carry.
    public enum Name: String, CaseIterable, Sendable {
        /// Everything runs.
        case up
        /// Everything is stopped.
        case down
        /// Everything is killed until the lease is back.
        case suspended
    }

    /// Which it is.
    public var name: Name {
        switch self {
        case .up: .up
        case .down: .down
        case .suspended: .suspended
        }
    }

    /// Nothing leads from `down` to `up`: what was to stop does not run again under its epoch. (Rule L11.1)
    public static let steps: [StateStep<Name>] = [
        .init(.up, .down, "the log releases the group, or it failed too often"),
        .init(.up, .suspended, "the lease ended (L12)"),
        .init(.down, .suspended, "the lease ended before all was stopped (L12)"),
        .init(.suspended, .up, "the lease is back for the same life and epoch (L15)"),
        .init(.suspended, .down, "the same, and it was to stop already; or the log releases it"),
    ]
}

extension GroupRunner.ResourceState: SteppedState {
    /// Itself: it carries nothing.
    public var name: Self { self }

    /// A kill leads from everywhere to `stopped`, or to `detached` where there is a volume.
    public static let steps: [StateStep<Self>] = {
        var steps: [StateStep<Self>] = [
            .init(.stopped, .opening, "its turn to start: the volume is opened first"),
            .init(.stopped, .starting, "its turn to start"),
            .init(.opening, .detached, "the volume is open, was refused, or is not wanted any more"),
            .init(.detached, .opening, "another attempt to start"),
            .init(.detached, .starting, "the volume is open: its agent attaches it"),
            .init(.detached, .closing, "its turn to stop: the volume is closed last"),
            .init(.starting, .running, "its agent says so"),
            .init(.starting, .stopping, "the start failed or is not wanted any more: a stop copes with the half of it"),
            .init(.running, .stopping, "its turn to stop, or to be restarted"),
            .init(.running, .withdrawn, "its address may have been taken down while the clocks had parted (L20)"),
            .init(.withdrawn, .starting, "a start puts it back"),
            .init(.withdrawn, .stopping, "its turn to stop"),
            .init(.stopping, .stopped, "its agent says so"),
            .init(.stopping, .detached, "its agent says so, and the volume is still open"),
            .init(.closing, .stopped, "the volume is closed"),
        ]
        for state in [Self.starting, .running, .withdrawn, .stopping] {
            steps.append(.init(state, .stopped, "killed (L12)"))
        }
        for state in [Self.starting, .running, .stopping, .closing] {
            steps.append(.init(state, .detached, "killed, and the volume is still open"))
        }
        return steps
    }()
}

extension ClusterState.Standing: SteppedState {
    /// The standings without the entry of a suspicion.
    public enum Name: String, CaseIterable, Sendable {
        /// Joined, but never admitted.
        case never
        /// May hold a lease.
        case trusted
        /// Voters answer it no more.
        case suspected
        /// Its lease has certainly ended.
        case lost
    }

    /// Which it is.
    public var name: Name {
        switch self {
        case .never: .never
        case .trusted: .trusted
        case .suspected: .suspected
        case .lost: .lost
        }
    }

    /// Nothing but a new life leads out of `lost`, and nothing but a suspicion leads into it. (Rules L4, L6, E3)
    public static let steps: [StateStep<Name>] = [
        .init(.never, .trusted, "`admit`: its first life begins (L8)"),
        .init(.trusted, .suspected, "`suspect`: a majority hears nothing from it (L7)"),
        .init(.suspected, .trusted, "`trust`: it is heard again (L4), or `admit`: its machine was started anew (E3)"),
        .init(.suspected, .lost, "`lost`: T has passed since the last answer (L6), or `fenced` (L14)"),
        .init(.lost, .trusted, "`admit`: a new life begins (E3)"),
    ]
}
