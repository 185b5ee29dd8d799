import Basis

/// Which groups changed since they were last settled. What an entry costs depends on the groups that it names, not on how
/// many there are.
struct GroupChanges: Equatable, Sendable {
    /// Any of them may have.
    private(set) var isEverything = true
    /// Those that have; empty when `isEverything`.
    private var names: Set<GroupName> = []

    /// Nothing changed.
    var isEmpty: Bool { !self.isEverything && self.names.isEmpty }

    /// In the order of names.
    var sorted: [GroupName] { self.names.sorted() }

    /// One changed.
    mutating func add(_ group: GroupName) {
        if !self.isEverything { self.names.insert(group) }
    }

    /// Nobody knows which changed.
    mutating func addEverything() {
        self.isEverything = true
        self.names.removeAll()
    }

    /// What an entry changed: `touched`, or all groups, unless it is about none.
    mutating func add(_ command: Command, touched: [GroupName]) {
        for group in touched { self.add(group) }
        switch command {
        case .drain, .depart, .remark, .suspect, .trust, .leaves, .joins, .opens: break
        case .bootstrap, .addNode, .admit, .lost, .fenced, .configure, .setNode, .retire, .replaceNode, .expel,
            .recovered:
            self.addEverything()
        default: if touched.isEmpty { self.addEverything() }
        }
    }

    /// They were settled.
    mutating func removeAll() {
        self.isEverything = false
        self.names.removeAll(keepingCapacity: true)
    }
}
