import Basis
import Raft
import Resources

/// The words for notes: the one place where they are made, for log, trace and tests alike.
extension Note {
    /// One sentence, with the names that `state` knows.
    public func sentence(_ state: ClusterState) -> String {
        let name = { state.name(of: $0) }
        return switch self {
        case .consensus(let note): note.description
        case .group(let group, let note): note.sentence(group)
        case .refused(let index, let refusal): "entry \(index) was refused: \(refusal)"
        case .refusedCommand(let node, let refusal): "refused: a command from \(name(node)): \(refusal)"
        case .refusedRelay(let via, let sender):
            "refused: \(name(via)) speaks for \(name(sender)), which is heard directly"
        case .unreadable(let what): "ALARM: \(what)"
        case .distrusts(let node, let violation):
            "ALARM: \(name(node)) is not believed any more: \(violation); compare the logs of both nodes before restarting "
                + "either"
        case .caughtUp(let index): "caught up with the cluster at entry \(index)"
        case .diskFailed: "the log's disk failed: this node gives up leadership and its lease"
        case .snapshotFailed(let mark, let reason):
            "the snapshot up to entry \(mark.index) could not be written, and is tried again in \(SnapshotDesk.pause): \(reason)"
        case .slowStep(let time): "one step took \(time), and renewals of leases waited for it"
        case .prefersLeader(let node): "leaves leadership to \(name(node)): its site comes first in leaderSites (C11)"
        case .lostItsLog, .doesNotRemember, .askedTooFarBack, .isStranger, .newMark: self.markSentence(name)
        case .preparedFor, .beginsGeneration, .followsGeneration, .overtaken: self.generationSentence(name)
        case .twoLives, .awaitsEndOfLife, .leaseHeld, .leaseEnded, .leaseGivenBack, .clocksParted, .doubtEnded,
            .lifeIsOver, .moreTimePassed, .duplicated, .isTwin:
            self.lifeSentence(name)
        case .starts(let group, let epoch): "starting \(group) under epoch \(epoch)"
        case .stopsLeftovers(let group): "stopping what an earlier daemon left of \(group)"
        case .adopts(let group, let epoch): "adopted \(group), which runs under epoch \(epoch)"
        case .confirmedStopped(let group): "an operator signed that nothing of \(group) is left here"
        case .renews(.guardian): "the guard runs another program than this daemon: another one takes its place"
        case .renews(.server(let volume)):
            "the server of volume \(volume) runs another program than this daemon: it starts anew"
        case .noCopy(let volume, let reason), .copyOutdated(let volume, let reason),
            .copyTakenBack(let volume, let reason), .serverFailed(let volume, let reason),
            .serverSays(let volume, let reason):
            "volume \(volume): \(reason)"
        }
    }

    private func markSentence(_ name: (NodeID) -> String) -> String {
        switch self {
        case .lostItsLog(let node):
            "\(name(node)) has lost its log: it learns the log anew, without a vote (E2.6)"
        case .doesNotRemember(let node, let mark):
            "\(name(node)) does not remember \(mark) of its log: nothing that it promises counts (E2)"
        case .askedTooFarBack(let node, let mark):
            "\(name(node)) asks for \(mark), older than the \(LogMemory.capacity) marks that this log keeps: no answer can be "
                + "given (E2.3)"
        case .isStranger(let asker, let mark, let own):
            "\(name(asker)) holds promises of \(mark) of this node's log; this one, \(own), is new: it counts nowhere until "
                + "the node's known life is over and the log was learned anew (E2)"
        case .newMark(let mark): "goes on under \(mark) of its log (E2.3, E4.3)"
        default: preconditionFailure("not about marks: \(self.identifier)")
        }
    }

    private func generationSentence(_ name: (NodeID) -> String) -> String {
        switch self {
        case .preparedFor(let generation, let coordinator):
            "takes nothing of the lost majority any more, and waits for generation \(generation) as asked for on "
                + "\(name(coordinator)) (R2)"
        case .beginsGeneration(let generation): "begins generation \(generation) without the lost majority (R5)"
        case .followsGeneration(let generation): "follows generation \(generation), with an empty log (R1)"
        case .overtaken(let generation, let node):
            "\(name(node)) says that generation \(generation) has left this node behind: it gives up its lease and takes part in "
                + "nothing; `holdfast cluster rejoin` brings it back with an empty log (R1)"
        default: preconditionFailure("not about generations: \(self.identifier)")
        }
    }

    private func lifeSentence(_ name: (NodeID) -> String) -> String {
        switch self {
        case .twoLives(let node):
            "refused: \(name(node)) asks to start a new life while its old one is still heard; if this goes on, two machines "
                + "use one identity"
        case .awaitsEndOfLife(let node):
            "\(name(node)) has started anew; it is let in once its former lease has certainly ended"
        case .duplicated(let node, let twins):
            "ALARM: several machines say that they are \(name(node)): \(Twins.words(twins)) (E5)"
        case .isTwin(let node, let word): "ALARM: \(word.sentence(says: name(node))) (E5)"
        case .leaseHeld(let end): "lease held until \(end)"
        case .leaseEnded: "the lease ended"
        case .leaseGivenBack: "nothing runs here any more: the lease is given back"
        case .clocksParted: "boot clock and hardware clock have parted: nothing starts before a majority answers"
        case .doubtEnded: "a majority answered: the lease holds, whatever the clocks did"
        case .lifeIsOver(let voter):
            "\(name(voter)) says that this life is over: there is no lease from here on"
        case .moreTimePassed(let voter, let end):
            "more time has passed than this machine's clock says, by the word of \(name(voter)): the lease ends at \(end)"
        default: preconditionFailure("not about a life: \(self.identifier)")
        }
    }
}

extension GroupNote {
    /// One sentence about this group.
    func sentence(_ group: GroupName) -> String {
        switch self {
        case .newConfiguration(let starting):
            let names = starting.map(\.rawValue).joined(separator: ", ")
            return "\(group) has a new configuration: \(names.isEmpty ? "its end goes" : "starting \(names)")"
        case .givesUp(let resource, let reason): return "\(group)/\(resource) \(reason): giving the group up"
        case .restarts(let resource, let reason, let count, let limit):
            return "\(group)/\(resource) \(reason): restarting it (\(count) of \(limit))"
        case .stopFailed(let resource, let reason):
            return "\(group)/\(resource) failed to stop (\(reason)): killing the group"
        case .waitsForVolume(let resource, let reason):
            return "\(group)/\(resource) waits for its volume: \(reason)"
        }
    }
}
