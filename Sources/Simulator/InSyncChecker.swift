import Basis
import Cluster

/// InSync: what the log says of copies, against what lies on their disks.
extension Simulation {
    /// A flush was answered: every copy of the set holds what it promised, on its disk.
    func checkFlushed(_ promises: [(block: Int, number: UInt64)]) {
        guard self.areCopiesJudged else { return }
        for (block, number) in promises {
            for volume in self.membersOfSet where volume.copy.stable[block] < number {
                return self.fail(
                    "InSync: a flush was answered with \(number) in block \(block), the disk of \(volume.node), which is in "
                        + "the set, has \(volume.copy.stable[block])")
            }
        }
    }

    /// The set is another one: whoever is in it has all that was ever flushed.
    func checkSet() {
        guard self.checkers.history.state.appliedIndex != self.judgedUpTo else { return }
        self.judgedUpTo = self.checkers.history.state.appliedIndex
        guard let record = self.checkers.history.state.volume(Self.volume) else { return }
        let version = (record.epoch, record.version)
        guard version != self.judgedSet else { return }
        self.judgedSet = version
        guard self.areCopiesJudged else { return }
        self.count("sets compared with disks")
        for volume in self.membersOfSet {
            guard let lack = self.workload.lack(of: volume.copy.stable) else { continue }
            return self.fail(
                "InSync: \(volume.node) is in the set \(record.inSync), and its disk has \(lack.found) in block "
                    + "\(lack.block), flushed was \(lack.flushed)")
        }
    }

    /// Nobody harmed a copy since they were compared last: the log learns of that later.
    private var areCopiesJudged: Bool { self.haveCopiesMet && self.options.sabotage != "V17" }

    private var membersOfSet: [SimulatedVolume] {
        let inSync = self.checkers.history.state.volume(Self.volume)?.inSync ?? []
        return inSync.compactMap { self.node($0).volume(Self.volume) }
    }
}
