/// What is wanted of the cluster's authority.
public struct RotateRequest: Codable, Equatable, Sendable {
    /// Nodes that are not waited for any more; empty: another authority is to come.
    public var without: [String]
    /// The one that is to come does not after all.
    public var isCancelled: Bool
    /// Say what would happen, but change nothing.
    public var dryRun: Bool
    /// All fields.
    public init(without: [String] = [], isCancelled: Bool = false, dryRun: Bool = false) {
        self.without = without
        self.isCancelled = isCancelled
        self.dryRun = dryRun
    }
}

/// The certificates of the nodes, as the log knows them.
public struct CertificatesReport: Codable, Equatable, Sendable {
    /// One node's.
    public struct Node: Codable, Equatable, Sendable {
        /// Its name.
        public var name: String
        /// SHA-256 of the certificate, hexadecimal; nil where the node has not said anything of it.
        public var fingerprint: String?
        /// SHA-256 of the authority that signed it, likewise.
        public var authority: String?
        /// When it is renewed, and when it ends, in seconds from 1970; nil where it has no end, as those of builds from before.
        public var renewsSeconds: UInt64?
        /// The end.
        public var endsSeconds: UInt64?
        /// It keeps the key of that authority, so it can let others in.
        public var keepsAuthorityKey: Bool?
        /// Why it could not be renewed although its end is near.
        public var trouble: String?
        /// All fields.
        public init(
            name: String, fingerprint: String? = nil, authority: String? = nil, renewsSeconds: UInt64? = nil,
            endsSeconds: UInt64? = nil, keepsAuthorityKey: Bool? = nil, trouble: String? = nil
        ) {
            self.keepsAuthorityKey = keepsAuthorityKey
            self.name = name
            self.fingerprint = fingerprint
            self.authority = authority
            self.renewsSeconds = renewsSeconds
            self.endsSeconds = endsSeconds
            self.trouble = trouble
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that answered.
    public var servedBy: String
    /// What is still to be said, as sentences; often none.
    public var notes: [String]
    /// The nodes, sorted by name.
    public var nodes: [Node]
    /// All fields.
    public init(apiVersion: Int = 1, servedBy: String, notes: [String] = [], nodes: [Node]) {
        self.apiVersion = apiVersion
        self.servedBy = servedBy
        self.notes = notes
        self.nodes = nodes
    }
}
