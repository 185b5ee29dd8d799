import Basis
import Resources

extension GroupRunner: InvariantChecking {
    /// One start or stop at a time, and nothing that has no meaning in the state that a resource is in.
    public func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.interrupted != .suspended, "GroupRunner: \(self.name) would resume to be suspended")
        if let call = self.call {
            try invariant(!self.isKilling, "GroupRunner: \(self.name) starts or stops while it is killed (L12)")
            try invariant(
                self.resources.indices.contains(call.resource), "GroupRunner: \(self.name) calls for no resource")
            let state = self.resources[call.resource].state
            try invariant(
                state == .starting || state == .stopping,
                "GroupRunner: \(self.name) waits for the start or stop of what is \(state.rawValue)")
            try invariant(call.id < self.nextCall, "GroupRunner: \(self.name) would give the number \(call.id) again")
        }
        var moving = 0
        for resource in self.resources {
            if resource.state == .opening || resource.state == .closing {
                try invariant(resource.volume != nil, "GroupRunner: \(resource.policy.name) opens no volume")
                moving += 1
            }
            if resource.monitorCall != nil {
                try invariant(
                    resource.state == .running || resource.state == .withdrawn,
                    "GroupRunner: \(resource.policy.name) is checked while it is \(resource.state.rawValue)")
            }
            if resource.reopening != nil {
                try invariant(
                    resource.volume != nil && (resource.state == .running || resource.state == .starting),
                    "GroupRunner: \(resource.policy.name) waits for its volume while it is \(resource.state.rawValue)")
            }
        }
        try invariant(moving <= 1, "GroupRunner: \(self.name) opens or closes \(moving) volumes at once")
    }
}
