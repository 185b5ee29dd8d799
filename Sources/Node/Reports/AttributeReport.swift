/// One attribute.
public struct AttributeReport: Codable, Equatable, Sendable {
    /// What it is about: `cluster`, or `node:NAME`.
    public var scope: String
    /// Its name.
    public var name: String
    /// What it says, exactly as it was put.
    public var value: String
    /// The log index of the entry that put it: no two puts have the same.
    public var version: UInt64
    /// `forever`, or `boot`: it goes with this life of its node.
    public var lifetime: String
    /// All fields.
    public init(scope: String, name: String, value: String, version: UInt64, lifetime: String) {
        self.scope = scope
        self.name = name
        self.value = value
        self.version = version
        self.lifetime = lifetime
    }
}

/// Attributes as they are.
public struct AttributesReport: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that answers.
    public var servedBy: String
    /// The last entry that this answer knows.
    public var index: UInt64
    /// They are no older than what anybody was told before they were asked for; false when that was not asked for.
    public var consistent: Bool
    /// When they are not: how long ago this node last heard a leader, in seconds.
    public var ageSeconds: Double?
    /// Sorted by what they are about, then by name.
    public var attributes: [AttributeReport]
    /// All fields.
    public init(
        apiVersion: Int = 1, servedBy: String, index: UInt64, consistent: Bool, ageSeconds: Double? = nil,
        attributes: [AttributeReport]
    ) {
        self.apiVersion = apiVersion
        self.servedBy = servedBy
        self.index = index
        self.consistent = consistent
        self.ageSeconds = ageSeconds
        self.attributes = attributes
    }
}

/// A change of an attribute, with what must be so for it to have an effect: at most one of the three.
public struct AttributeRequest: Codable, Equatable, Sendable {
    /// What it is to say; of a deletion nil.
    public var value: String?
    /// `forever`, which is also what nil means, or `boot`.
    public var lifetime: String?
    /// Only if there is none of that name.
    public var ifAbsent: Bool?
    /// Only if it says this.
    public var ifValue: String?
    /// Only if it was put by this entry.
    public var ifVersion: UInt64?
    /// All fields.
    public init(
        value: String? = nil, lifetime: String? = nil, ifAbsent: Bool? = nil, ifValue: String? = nil,
        ifVersion: UInt64? = nil
    ) {
        self.value = value
        self.lifetime = lifetime
        self.ifAbsent = ifAbsent
        self.ifValue = ifValue
        self.ifVersion = ifVersion
    }
}
