import Basis

/// A question about one machine, asked before a configuration is put into force.
public enum InspectionQuestion: Hashable, Sendable {
    /// What does this OCF agent say of itself?
    case agent(String)
    /// Does this user exist?
    case user(String)
    /// Is there such a network interface?
    case interface(String)
    /// Can the machine mount a file system of this type?
    case filesystem(String)
    /// Can this file be read?
    case file(String)
}

/// The answer to one question.
public enum InspectionAnswer: Equatable, Sendable {
    /// It is there, or can be done.
    case yes
    /// It is not; the reason, if there is more to say.
    case no(String)
    /// What the agent says.
    case agent(AgentMetadata)
    /// It could not be found out in time, or at all.
    case unknown(String)
}

extension InspectionQuestion {
    /// As many questions as fit into one message.
    public static let maximumCount = 2000
}
