import Basis
import Reports

/// What people are told of machines that say that they are one node, on those machines too. (Rule E5)
extension StatusBuilder {
    /// One sentence for each such node, and one where this machine is one of them.
    var twinSentences: [String] {
        var found: [String] = []
        if let told = self.view.supervisor.links.twinWord {
            found.append("\(told.word.sentence(says: self.state.name(of: told.says))) (E5)\(self.ownMachine)")
        }
        for record in self.state.nodes where record.twins.isOpen {
            let name = record.about.name
            let machines = "several machines say that they are \(name): \(Twins.words(record.twins.machines))"
            if let chosen = record.twins.chosen {
                found.append(
                    "\(machines). It is the one of boot \(Twin.short(chosen)), which is let in once it is up and has got another "
                        + "key; if it was booted since, say so again with `holdfast node original \(name) --boot BOOT` (E5)"
                )
            } else {
                found.append(
                    "\(machines). None of them runs anything until `holdfast node original \(name) --boot BOOT` says which one "
                        + "it is; switch the other one off (E5)")
            }
        }
        return found
    }

    /// Why a node that several machines say that they are is not used.
    func twinReason(_ record: ClusterState.NodeRecord) -> String {
        let reason = "several machines say that they are it: \(Twins.words(record.twins.machines))"
        return record.id == self.me ? reason + self.ownMachine : reason
    }

    private var ownMachine: String {
        "; this machine is the one of boot \(Twin.short(self.view.supervisor.identity.bootID))"
    }
}
