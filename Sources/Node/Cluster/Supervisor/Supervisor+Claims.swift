import Basis
import Resources

/// The owner's word about what it no longer holds. (Rules B5, B5.1)
extension Supervisor {
    /// Whether this life has to say something about a holding, once it is so.
    func isToReport(_ holding: ClusterState.Holding) -> Bool {
        guard holding.node == self.identity.node, holding.incarnation == self.birth.incarnation else { return false }
        return !holding.surplus.isEmpty || !self.isCurrent(holding)
    }

    private func isCurrent(_ holding: ClusterState.Holding) -> Bool {
        guard let record = self.state.group(holding.group) else { return false }
        return record.epoch == holding.epoch && record.assignment != nil
    }

    mutating func reportHoldings(at now: Tick, into effects: inout [SupervisorEffect]) {
        for holding in self.state.holdings where self.isToReport(holding) {
            let runner = self.groups.runners.place(of: holding.group).map { self.groups.runners[$0] }
            if self.isCurrent(holding) {
                // What a new configuration no longer has is another's to have once it is stopped here.
                guard let runner, runner.epoch == holding.epoch, runner.goal == .up, !runner.isChanging,
                    let record = self.state.group(holding.group), let policy = self.state.policy.group(holding.group),
                    runner.agrees(with: self.state.granted(policy, record))
                else { continue }
                self.request(
                    .dropped(holding.group, holding.epoch, version: holding.version), at: now, into: &effects)
            } else if runner.map({ $0.epoch > holding.epoch }) ?? true {
                // Another took over from this life, as `immediate` does, and nothing of the old epoch is left here.
                self.request(.stopped(holding.group, holding.epoch, failure: nil), at: now, into: &effects)
            }
        }
    }
}

extension [ResourcePolicy] {
    /// A number that differs when what runs would differ; times do not count.
    var digest: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ text: String) {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            hash = (hash ^ 0x100) &* 0x100_0000_01B3
        }
        for resource in self {
            add(resource.name.rawValue)
            add(resource.agent)
            for parameter in resource.parameters {
                add(parameter.key)
                add(parameter.value)
            }
        }
        return hash
    }
}
