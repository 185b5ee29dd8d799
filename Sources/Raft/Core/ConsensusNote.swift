import Basis

/// What happens in consensus that people or counters want to know; nothing is decided from it.
public enum ConsensusNote: Equatable, Sendable {
    /// This node led until now.
    case stepsDown(Term)
    case follows(NodeID, Term)
    /// The leader that it followed has said nothing for so long; what is seldom exceeded here.
    case missesLeader(NodeID, silence: Span, usual: Span)
    /// It heard no leader, and asks whether an election could be won. (Pre-vote)
    case asksForPreVotes(Term)
    case campaigns(Term, afterTransfer: Bool)
    case lostElection(Term)
    case leads(Term)
    /// A leader that a majority does not answer leads no more.
    case heardNoMajority(Span)
    /// Entries that were never committed are cut off, from this one on.
    case cutsLog(LogMark)
    case changesVoters([NodeID])
    /// Its own removal from the voters is committed.
    case leavesVoters
    case sendsSnapshot(LogMark, to: NodeID)
    case installsSnapshot(LogMark)
    case handsOver(to: NodeID)
    /// The target of a transfer did not take over in time.
    case goesOnLeading(insteadOf: NodeID)
    /// It was asked to lead, and lacks a vote or entries.
    case declinesToLead(from: NodeID, needed: LogMark)
    case diskFailed
    /// Its disk has not made durable what it was given so long ago. (Rule C10)
    case diskStalls(Span)
    /// It has now.
    case diskAnswers(after: Span)

    /// A stable name for counters and alerts; never reworded.
    public var identifier: String {
        switch self {
        case .stepsDown: "consensus.steps-down"
        case .follows: "consensus.follows"
        case .missesLeader: "consensus.misses-leader"
        case .asksForPreVotes: "consensus.asks-for-pre-votes"
        case .campaigns: "consensus.campaigns"
        case .lostElection: "consensus.lost-election"
        case .leads: "consensus.leads"
        case .heardNoMajority: "consensus.heard-no-majority"
        case .cutsLog: "consensus.cuts-log"
        case .changesVoters: "consensus.changes-voters"
        case .leavesVoters: "consensus.leaves-voters"
        case .sendsSnapshot: "consensus.sends-snapshot"
        case .installsSnapshot: "consensus.installs-snapshot"
        case .handsOver: "consensus.hands-over"
        case .goesOnLeading: "consensus.goes-on-leading"
        case .declinesToLead: "consensus.declines-to-lead"
        case .diskFailed: "consensus.disk-failed"
        case .diskStalls: "consensus.disk-stalls"
        case .diskAnswers: "consensus.disk-answers"
        }
    }

    /// How much it matters.
    public var severity: Severity {
        switch self {
        case .stepsDown, .follows, .missesLeader, .asksForPreVotes, .campaigns, .lostElection, .leads, .cutsLog,
            .changesVoters,
            .leavesVoters, .sendsSnapshot, .installsSnapshot, .handsOver, .declinesToLead,
            .diskAnswers:
            .info
        case .heardNoMajority, .goesOnLeading, .diskStalls: .warning
        case .diskFailed: .error
        }
    }
}

extension ConsensusNote: CustomStringConvertible {
    /// One clause whose subject is this node.
    public var description: String {
        switch self {
        case .stepsDown(let term): "no longer leads; term \(term)"
        case .follows(let leader, let term): "follows \(leader) in term \(term)"
        case .missesLeader(let leader, let silence, let usual):
            "has heard nothing of \(leader) for \(silence)\(usual == .zero ? "" : ", seldom more than \(usual)")"
        case .asksForPreVotes(let term): "asks for pre-votes for term \(term)"
        case .campaigns(let term, let afterTransfer):
            "campaigns for term \(term)\(afterTransfer ? " after a transfer" : "")"
        case .lostElection(let term): "lost the election of term \(term)"
        case .leads(let term): "leads term \(term)"
        case .heardNoMajority(let timeout): "heard no majority for \(timeout)"
        case .cutsLog(let mark): "cuts its log from \(mark) on"
        case .changesVoters(let voters): "changes the voters to \(voters)"
        case .leavesVoters: "steps down: no longer a voter"
        case .sendsSnapshot(let mark, let node): "sends snapshot \(mark) to \(node)"
        case .installsSnapshot(let mark): "installs snapshot \(mark)"
        case .handsOver(let target): "hands leadership to \(target)"
        case .goesOnLeading(let target): "\(target) did not take over; goes on leading"
        case .declinesToLead(let sender, let last):
            "does not take over from \(sender): not a voter that holds \(last)"
        case .diskFailed: "its disk failed; takes no part until it is restarted"
        case .diskStalls(let age): "its disk has not written the log for \(age); others should lead (C10)"
        case .diskAnswers(let age): "its disk has written the log after \(age)"
        }
    }
}
