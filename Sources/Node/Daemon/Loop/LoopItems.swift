import Basis
import Cluster
import Host

/// What waits for the loop: everybody else's end of the line.
typealias LoopQueue = Locked<LoopItems>

/// Inputs in the order in which the loop takes them: one at a time, but what keeps leases alive always first. However much
/// starts, stops or is asked at once, a renewal waits for one step of the loop and no more.
/// (docs/decisions/0005-leases-first.md)
struct LoopItems {
    /// A list whose front moves.
    private struct Lane {
        var items: [DaemonLoop.Item] = []
        var head = 0

        var isEmpty: Bool { self.head == self.items.count }

        mutating func take() -> DaemonLoop.Item? {
            guard !self.isEmpty else { return nil }
            defer {
                self.head += 1
                if self.head == self.items.count {
                    self.items.removeAll(keepingCapacity: self.head < 4096)
                    self.head = 0
                }
            }
            return self.items[self.head]
        }
    }

    /// So many messages of peers go before something else is taken.
    private static let peersInARow = 8

    private var urgent: [DaemonLoop.Item] = []
    private var peers = Lane()
    private var others = Lane()
    private var row = 0

    /// Puts something in its place.
    mutating func append(_ item: DaemonLoop.Item) {
        switch item {
        case .input(.receive(let envelopes, _)):
            if envelopes.allSatisfy({ $0.message.isAboutLeases }) {
                self.urgent.append(item)
            } else {
                self.peers.items.append(item)
            }
        case .persisted, .logFailed, .stop: self.urgent.append(item)
        // Nothing may be started, and no life claimed, before it is known what is left of an earlier one. (Rule L12.3)
        case .input(.groupRemains): self.urgent.append(item)
        case .input, .request, .inspect: self.others.items.append(item)
        }
    }

    /// Nothing waits.
    var isEmpty: Bool { self.urgent.isEmpty && self.peers.isEmpty && self.others.isEmpty }

    /// The log's thread has said something, or the end was asked for.
    var hasWordOfLog: Bool { self.urgent.contains(where: \.isWordOfLog) }

    /// What the log's thread has said, and nothing else but the end.
    mutating func takeWordsOfLog(into items: inout [DaemonLoop.Item]) {
        items = self.urgent.filter(\.isWordOfLog)
        self.urgent.removeAll(where: \.isWordOfLog)
    }

    /// All that is urgent; or else the next one of the others.
    mutating func take(into items: inout [DaemonLoop.Item]) {
        items.removeAll(keepingCapacity: true)
        swap(&items, &self.urgent)
        guard items.isEmpty else { return }
        if self.row < Self.peersInARow || self.others.isEmpty, let item = self.peers.take() {
            self.row += 1
            items.append(item)
        } else if let item = self.others.take() {
            self.row = 0
            items.append(item)
        }
    }
}

extension DaemonLoop.Item {
    /// It comes from the log's thread, or asks for the end.
    fileprivate var isWordOfLog: Bool {
        switch self {
        case .persisted, .logFailed, .stop: true
        case .input, .request, .inspect: false
        }
    }
}

extension NodeMessage {
    /// It keeps a lease alive, or shows that somebody lives.
    var isAboutLeases: Bool {
        switch self {
        case .renewal, .renewed, .notRenewed, .ping: true
        default: false
        }
    }
}
