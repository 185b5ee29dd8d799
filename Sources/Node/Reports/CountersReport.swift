/// How often the daemon that answers has told what, since it began.
public struct CountersReport: Codable, Equatable, Sendable {
    /// How often one kind was told.
    public struct Counter: Codable, Equatable, Sendable {
        /// Its stable name, such as `lease.ended` or `node.lost`.
        public var kind: String
        /// `info`, `warning` or `error`.
        public var severity: String
        /// How often.
        public var count: UInt64
        /// All fields.
        public init(kind: String, severity: String, count: UInt64) {
            self.kind = kind
            self.severity = severity
            self.count = count
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that answers.
    public var node: String
    /// How long ago its daemon began: the counts are since then.
    public var daemonSeconds: Double
    /// What it told in its own log, by kind; those that were never told are left out. A line that the log leaves out because it
    /// was repeated is counted all the same.
    public var notes: [Counter]
    /// Events of the cluster that it learned of once it had caught up, likewise.
    public var events: [Counter]
    /// All fields.
    public init(apiVersion: Int = 1, node: String, daemonSeconds: Double, notes: [Counter], events: [Counter]) {
        self.apiVersion = apiVersion
        self.node = node
        self.daemonSeconds = daemonSeconds
        self.notes = notes
        self.events = events
    }
}
