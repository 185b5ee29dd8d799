import Basis
import Cluster
import Raft
import Resources
import SimulatedDisks

/// InSync: what the log says of copies, against what lies on their disks.
extension Simulation {
    /// A flush was answered: every copy of the set holds what it promised, on its disk.
    func checkFlushed(_ promises: [(block: Int, number: UInt64)], of volume: SimulatedVolume) {
        guard !promises.isEmpty, self.isJudged(volume.number) else { return }
        let members = self.members(of: volume.name)
        for (block, number) in promises {
            for member in members where member.copy.content.stable[block] < number {
                return self.fail(
                    "InSync: a flush of \(volume.name) was answered with \(number) in block \(block), the disk of "
                        + "\(member.node), which is in the set, has \(member.copy.content.stable[block])")
            }
        }
    }

    /// A set is another one: whoever is in it has all that was ever flushed.
    func checkSets() {
        guard self.checkers.history.state.appliedIndex != self.judged.upTo else { return }
        self.judged.upTo = self.checkers.history.state.appliedIndex
        for record in self.checkers.history.state.volumes {
            let set = JudgedSets.Of(volume: record.identity, epoch: record.epoch, version: record.version)
            guard self.judged.sets.updateValue(set, forKey: record.name) != set else { continue }
            if let broken = self.lack(of: record) { return self.fail("InSync: \(broken)") }
            for member in self.members(of: record.name) where self.isJudged(member.number) {
                guard let lack = self.workloads[member.number].lack(of: member.copy.content.stable) else { continue }
                return self.fail(
                    "InSync: \(member.node) is in the set \(record.inSync) of \(record.name), and its disk has "
                        + "\(lack.found) in block \(lack.block), flushed was \(lack.flushed)")
            }
            self.count("sets compared with disks")
        }
    }

    /// What is wrong with the set as such: a volume that was used has a complete copy, and what a group that runs writes into
    /// is one. (Rules V4, V20, V21)
    private func lack(of record: ClusterState.VolumeRecord) -> String? {
        guard record.epoch != .none else { return nil }
        if record.inSync.isEmpty { return "nobody is in the set of \(record.name) any more" }
        guard let owner = record.owner, !record.inSync.contains(owner) else { return nil }
        let isUsed = self.checkers.history.state.groups.contains {
            $0.epoch == record.epoch && $0.assignment?.isStarted == true
        }
        return isUsed ? "a group runs on \(record.name) of \(owner), and in the set is \(record.inSync)" : nil
    }

    /// Nobody harmed a copy since they were compared last: the log learns of that later.
    private func isJudged(_ volume: Int) -> Bool {
        // While a majority is lost two logs tell of the same copies, and a loss that was signed for shows with the next promotion.
        self.copiesHaveMet[volume] && self.options.sabotage != "V17" && self.drill.lost.isEmpty
            && !self.workloads[volume].isLossSigned
    }

    private func members(of name: VolumeName) -> [SimulatedVolume] {
        guard let record = self.checkers.history.state.volume(name) else { return [] }
        return record.inSync.compactMap { node in
            self.node(node).volume(name).flatMap { $0.identity == record.identity ? $0 : nil }
        }
    }
}

/// Up to where the log's word on copies was last compared with their disks, and which sets that were.
struct JudgedSets {
    struct Of: Equatable {
        var volume: UInt64
        var epoch: Epoch
        var version: UInt64
    }

    var upTo = LogIndex.zero
    var sets: [VolumeName: Of] = [:]
}
