/// What should be different about a node; what is left out stays.
public struct NodeChangeRequest: Codable, Equatable, Sendable {
    /// What it may do.
    public var role: NodeReport.Role?
    /// Its site.
    public var site: String?
    /// Where its peers reach it, `HOST:PORT`.
    public var address: String?
    /// Labels to put on it; an empty value takes one off.
    public var labels: [String: String]?
    /// All fields.
    public init(
        role: NodeReport.Role? = nil, site: String? = nil, address: String? = nil, labels: [String: String]? = nil
    ) {
        self.role = role
        self.site = site
        self.address = address
        self.labels = labels
    }
}

/// What failures the voters survive, before and after a change of them.
public struct SurvivalReport: Codable, Equatable, Sendable {
    /// The voters that there are.
    public var votersBefore: [String]
    /// Those that there will be once all that are up have caught up.
    public var votersAfter: [String]
    /// `any node, any site`, or `no failure`.
    public var before: String
    /// The same of the voters that there will be.
    public var after: String
    /// Fewer failures are survived afterwards.
    public var isWorse: Bool
    /// All fields.
    public init(votersBefore: [String], votersAfter: [String], before: String, after: String, isWorse: Bool) {
        self.votersBefore = votersBefore
        self.votersAfter = votersAfter
        self.before = before
        self.after = after
        self.isWorse = isWorse
    }

    /// One sentence.
    public var sentence: String {
        let after = Self.clause(self.votersAfter, self.after)
        if self.votersBefore == self.votersAfter, self.before == self.after { return "as before, \(after)" }
        return "then \(after); now \(Self.clause(self.votersBefore, self.before))"
    }

    private static func clause(_ voters: [String], _ survives: String) -> String {
        voters.count == 1
            ? "\(voters[0]) alone votes, and \(survives) is survived"
            : "\(voters.joined(separator: ", ")) vote and survive \(survives)"
    }
}
