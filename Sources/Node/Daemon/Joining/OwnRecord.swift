import Basis
import Cluster
import Reports

/// Keeps `node.json` what the log says of this node and of the others, and follows the log: to another address at once, into
/// another role with the next daemon. On the loop's thread. (Rule J4)
struct OwnRecord {
    /// What the driver does for it.
    struct Hands {
        /// Listens at another place too; throws when it cannot.
        var listen: (String) throws -> Void
        /// Tells the cluster where this node is.
        var announce: (String) -> Void
        /// Ends this daemon, so that the next one is what the log says.
        var end: (any Error) -> Void
    }

    /// Why the daemon ends although nobody asked it to: it has another role now.
    struct RoleChanged: Error, CustomStringConvertible {
        var role: NodeReport.Role
        var description: String {
            "this node is a \(self.role.rawValue) now, which takes another daemon. This one ends; the next one is it"
        }
    }

    private static let pause = Span.seconds(1)
    private static let announcePause = Span.seconds(5)

    private let paths: NodePaths
    private let log: DriverLog
    private var file: NodeFile
    private var wanted: JoiningNode?
    private var nextTryAt = Tick.never
    private var told = ""

    init(_ file: NodeFile, paths: NodePaths, log: DriverLog) {
        self.file = file
        self.paths = paths
        self.log = log
    }

    /// The applied log says who is in the cluster.
    mutating func take(_ roll: PeerRoll) {
        self.file.peers = roll.peers.map { .init(node: $0.node.rawValue, name: $0.name, address: $0.address) }
        guard roll.isCurrent else { return self.write() }
        if roll.hasLeft(self.file.id, own: self.file.id) {
            self.log.error("\(self.file.name) has left the cluster for good; its daemon may be stopped (J6)")
        }
        if let own = roll.own {
            self.wanted = own
            self.file.site = own.site
            self.nextTryAt = .zero
        }
        self.write()
    }

    /// Does what is due. Called about twenty times a second.
    mutating func look(at now: Tick, _ hands: Hands) {
        guard now >= self.nextTryAt, let wanted = self.wanted else { return }
        self.nextTryAt = .never
        let role = NodeReport.Role(wanted.role)
        if role != self.file.role {
            let isOther = wanted.role.runsGroups != NodeRole(self.file.role).runsGroups
            self.file.role = role
            self.write()
            if isOther { return hands.end(RoleChanged(role: role)) }
        }
        guard wanted.address != self.file.address else {
            if self.file.announces != nil {
                self.file.announces = nil
                self.write()
            }
            return
        }
        if self.file.announces == true {
            // An operator said here where it is; the log follows.
            hands.announce(self.file.address)
            self.nextTryAt = now + Self.announcePause
            return
        }
        do {
            try hands.listen(wanted.address)
            self.file.address = wanted.address
            self.write()
            self.log.info("\(self.file.name) listens at \(wanted.address) now")
        } catch {
            let text = "the cluster looks for this node at \(wanted.address), and it cannot listen there: \(error)"
            if text != self.told { self.log.error(text) }
            self.told = text
            self.nextTryAt = now + Self.pause
        }
    }

    private func write() {
        do { if self.file != (try NodeFile.read(self.paths)) { try self.file.write(self.paths) } } catch {
            self.log.error("what the log says of the nodes cannot be written down: \(error)")
        }
    }
}
