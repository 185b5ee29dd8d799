import Basis

/// What a node tells about itself when it joins.
public struct JoiningNode: Equatable, Sendable {
    /// Its name, unique in the cluster.
    public var name: String
    /// Its site.
    public var site: String
    /// Where its peers reach it, `HOST:PORT`, unique in the cluster.
    public var address: String
    /// What it is for.
    public var role: NodeRole
    /// It votes but runs nothing.
    public var isWitness: Bool { self.role == .witness }
    /// All fields.
    public init(name: String, site: String, address: String, role: NodeRole) {
        self.name = name
        self.site = site
        self.address = address
        self.role = role
    }

    /// What is wrong with it in itself, as a sentence that shows nothing of a text that is not fit to be shown.
    public var problem: String? {
        for (what, text) in [("name", self.name), ("site", self.site)] where !Self.isPlain(text) {
            return "its \(what) is not one of at most 63 lower-case letters, digits and dashes, a dash not first"
        }
        let bytes = self.address.utf8
        let isPrintable = bytes.allSatisfy { (0x21...0x7E).contains($0) }
        guard (3...262).contains(bytes.count), isPrintable, let colon = self.address.lastIndex(of: ":"),
            let port = UInt16(self.address[self.address.index(after: colon)...]), port > 0,
            colon != self.address.startIndex
        else { return "its address is not HOST:PORT" }
        return nil
    }

    static func isPlain(_ text: String) -> Bool {
        guard (1...63).contains(text.utf8.count), text.utf8.first != UInt8(ascii: "-") else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
            default: false
            }
        }
    }
}

/// Who may join. (Rules B1, N2)
extension ClusterState {
    /// It founded the cluster, so it was up; and it made the cluster's authority.
    package static let founder = NodeID(1)

    /// Why this node may not join now; nil when it may. A node that joined and was never up may join again, also with
    /// another address, site or role: nothing of it counts yet.
    public func objection(toJoining node: JoiningNode) -> String? {
        if let problem = node.problem { return problem }
        guard self.clusterID != 0 else { return "there is no cluster yet" }
        guard self.nodesEver < Self.nodesMaximum else { return "this cluster has given away every node id there is" }
        if let twin = self.node(named: node.name), twin.standing != .never || twin.id == Self.founder {
            return
                "a node named \(node.name) exists already, and was up; choose another name, or, if that machine is gone, give "
                + "--replace to take its place"
        }
        if let other = self.nodes.first(where: { $0.about.address == node.address && $0.about.name != node.name }) {
            return "its address \(node.address) is that of \(other.about.name)"
        }
        return nil
    }

    mutating func join(_ node: JoiningNode, at index: LogIndex) -> Outcome {
        if let objection = self.objection(toJoining: node) { return .refused(.unfit(objection)) }
        if let place = self.nodes.firstIndex(where: { $0.about.name == node.name }) {
            if self.nodes[place].about == node { return .accepted }
            // Another id: what was signed for the old one belongs to nobody then.
            self.forgetAttributes(of: self.nodes.remove(at: place).id)
            self.append(node)
            self.note(.node(self.named(NodeID(self.nodesEver)), .joinedAgain(site: node.site)), at: index)
            return .accepted
        }
        self.append(node)
        self.note(.node(self.named(NodeID(self.nodesEver)), .joined(site: node.site)), at: index)
        return .accepted
    }
}
