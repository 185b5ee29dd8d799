import Basis
import Cluster
import Mirror
import Raft

/// The cores' own invariants, looked at after steps in release builds too; debug builds look after every one.
extension Simulation {
    /// A look at all that a node knows costs more than most steps: one in so many is looked at.
    private static let stepsBetweenLooks = 64

    func checkInvariants(of node: SimulatedNode, _ daemon: SimulatedDaemon) {
        self.stepsSinceLook += 1
        guard self.stepsSinceLook >= Self.stepsBetweenLooks else { return }
        self.stepsSinceLook = 0
        do {
            try Self.checkInvariants(of: &daemon.supervisor)
            for volume in node.volumes { try volume.core?.checkInvariants() }
        } catch {
            self.fail("\(node.name): \(error)")
        }
    }

    /// In place, so that nothing is copied.
    private static func checkInvariants(of supervisor: inout Supervisor) throws(BrokenInvariant) {
        try supervisor.checkInvariants()
        try supervisor.consensus.checkInvariants()
        try supervisor.state.checkInvariants()
    }
}
