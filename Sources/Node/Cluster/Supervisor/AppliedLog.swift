import Basis
import Raft

/// How far the log was applied, and what of it the cluster state does not hold.
struct AppliedLog: Sendable {
    /// The membership of the last applied membership entry, and where that lies.
    var membership: Membership
    var membershipIndex: LogIndex
    /// The term of the last applied entry.
    var term: Term
    /// When it was applied, or this daemon began.
    var at: Tick
    /// What of the log this release cannot read; nothing after it is applied.
    var unreadable: String?
    /// The snapshots that are being written.
    var desk = SnapshotDesk()

    init(_ snapshot: Snapshot?, at now: Tick) {
        self.membership = snapshot?.membership ?? Membership(voters: [])
        self.membershipIndex = snapshot?.membershipIndex ?? .zero
        self.term = snapshot?.mark.term ?? .zero
        self.at = now
    }
}
