import Basis

/// What is to be done, and why.
public struct Plan: Equatable, Sendable {
    /// One step.
    public enum Step: Equatable, Sendable {
        /// Make the node the owner under a new epoch. `isTakeover` when the old owner has not confirmed its stop.
        case assign(GroupName, node: String, isTakeover: Bool)
        /// Tell the owner to stop the group.
        case release(GroupName, owner: String, target: String?)
        /// Give up until an operator starts the group.
        case park(GroupName)
        /// Nothing can be done now, though something is wanted.
        case wait(GroupName)
        /// It stays where it runs for now, though another node is preferred.
        case keep(GroupName, owner: String)
    }

    /// A step with its reason.
    public struct Action: Equatable, Sendable {
        /// What to do.
        public var step: Step
        /// Why, as a clause that can follow "because".
        public var reason: String
        /// Both fields.
        public init(_ step: Step, reason: String) {
            self.step = step
            self.reason = reason
        }

        /// The group concerned.
        public var group: GroupName {
            switch self.step {
            case .assign(let group, _, _), .release(let group, _, _), .park(let group), .wait(let group),
                .keep(let group, _):
                group
            }
        }

        /// One sentence.
        public var sentence: String {
            switch self.step {
            case .assign(let group, let node, let isTakeover):
                "\(isTakeover ? "take over" : "start") \(group) on \(node), because \(self.reason)"
            case .release(let group, let owner, let target):
                "stop \(group) on \(owner)\(target.map { " and move it to \($0)" } ?? ""), because \(self.reason)"
            case .park(let group):
                "park \(group), because \(self.reason)"
            case .wait(let group):
                "leave \(group) stopped for now, because \(self.reason)"
            case .keep(let group, let owner):
                "leave \(group) on \(owner) for now, because \(self.reason)"
            }
        }
    }

    /// In the order of group names.
    public var actions: [Action]
    /// Wraps actions.
    public init(actions: [Action]) { self.actions = actions }
}
