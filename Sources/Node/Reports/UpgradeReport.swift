/// What the cluster has agreed that all nodes can do, and what each can.
public struct UpgradeReport: Codable, Equatable, Sendable {
    /// One node.
    public struct Node: Codable, Equatable, Sendable {
        /// Its name.
        public var name: String
        /// What its daemon is; nil from a build that does not say it, and while it is not heard.
        public var version: String?
        /// The highest feature level that it can do, as it says.
        public var featureLevel: UInt32?
        /// Why it keeps the level from being raised, as a clause after its name; nil if it does not.
        public var objection: String?
        /// All fields.
        public init(name: String, version: String? = nil, featureLevel: UInt32? = nil, objection: String? = nil) {
            self.name = name
            self.version = version
            self.featureLevel = featureLevel
            self.objection = objection
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that answered.
    public var servedBy: String
    /// What the cluster is at.
    public var featureLevel: UInt32
    /// What it can be raised to: the highest level that any node can do; `featureLevel` when that is all.
    public var highestLevel: UInt32
    /// The nodes, sorted by name.
    public var nodes: [Node]
    /// All fields.
    public init(
        apiVersion: Int = 1, servedBy: String, featureLevel: UInt32, highestLevel: UInt32, nodes: [Node]
    ) {
        self.apiVersion = apiVersion
        self.servedBy = servedBy
        self.featureLevel = featureLevel
        self.highestLevel = highestLevel
        self.nodes = nodes
    }
}
