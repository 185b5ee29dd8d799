import Basis

/// A word that operators put on a node, for whoever places groups: `rack` is `a12`.
public struct NodeLabel: Equatable, Sendable {
    /// Lower-case letters, digits and dashes, at most 63.
    public var name: String
    /// As the name, or empty: then it is taken off.
    public var value: String
    /// Both fields.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// What an operator wants to be different about a node; what is nil stays. (Rules J1, J4, J5)
public struct NodeChange: Equatable, Sendable {
    /// What it is for.
    public var role: NodeRole?
    /// Its site.
    public var site: String?
    /// Where its peers reach it, `HOST:PORT`.
    public var address: String?
    /// Labels that are put on it, or, with an empty value, taken off.
    public var labels: [NodeLabel]
    /// All fields.
    public init(role: NodeRole? = nil, site: String? = nil, address: String? = nil, labels: [NodeLabel] = []) {
        self.role = role
        self.site = site
        self.address = address
        self.labels = labels
    }

    /// It is about the address alone.
    var isAddressOnly: Bool {
        self.address != nil && self.role == nil && self.site == nil && self.labels.isEmpty
    }

    /// The node as it is afterwards.
    public func applied(to node: JoiningNode) -> JoiningNode {
        JoiningNode(
            name: node.name, site: self.site ?? node.site, address: self.address ?? node.address,
            role: self.role ?? node.role)
    }

    func encode(into writer: inout ByteWriter) {
        writer.optional(self.role) { $0.uint8($1.rawValue) }
        writer.optional(self.site) { $0.string($1) }
        writer.optional(self.address) { $0.string($1) }
        writer.list(self.labels) { writer, label in
            writer.string(label.name)
            writer.string(label.value)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> NodeChange {
        NodeChange(
            role: try reader.optional { (reader) throws(CodecError) in try reader.role() },
            site: try reader.optional { (reader) throws(CodecError) in try reader.string() },
            address: try reader.optional { (reader) throws(CodecError) in try reader.string() },
            labels: try reader.list { (reader) throws(CodecError) in
                NodeLabel(name: try reader.string(), value: try reader.string())
            })
    }
}

extension ByteReader {
    /// What a node is for.
    package mutating func role() throws(CodecError) -> NodeRole {
        guard let role = NodeRole(rawValue: try self.uint8()) else {
            throw .invalid(field: "role of a node", offset: self.offset)
        }
        return role
    }
}
