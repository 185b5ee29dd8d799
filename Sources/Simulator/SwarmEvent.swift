import Basis
import Cluster
import Resources

/// What of the features waits in the queue.
enum SwarmEvent {
    /// It is time for another fault, another wish, another configuration.
    case strike, wish, reconfigure, changeMembers
    /// A client asks for an attribute.
    case attribute
    /// Operators let a node go, or do without a machine that is destroyed.
    case letGo(NodeID, until: UInt64)
    case doWithout(NodeID, isReplaced: Bool)
    /// The machine of a new id boots; whose node is none any more is switched off.
    case bootsFirst(SimulatedNode)
    case switchOff(SimulatedNode)
    /// The log says that the node is for something else.
    case becomes(SimulatedNode, NodeRole)
    case join(SimulatedNode)
    /// A node hears from another one that it has left.
    indirect case farewell(SimulatedNode, from: NodeID, of: Generation)
    /// What was armed happens now.
    case moment(MomentFault, on: NodeID)
    /// An operator moves a group, or it fails where it is; and once more.
    case move
    case wearOut(SimulatedNode, GroupName, left: Int)
    case restart(SimulatedNode, until: UInt64)
    /// A node is cut off, and nobody knows what it has said.
    case cutOff(NodeID, until: UInt64)
    /// A disk hangs from now on.
    case hangDisk(SimulatedNode, until: UInt64)
    /// An operator moves this group.
    case moveGroup(GroupName, to: NodeID)
    /// A group that was removed is to be gone.
    case removalLook(GroupName, Epoch)
    /// The second and the third step of a pair of faults.
    case shortenLease
    case restartOthers(NodeID)
    /// A daemon whose disk failed has said what it had to say.
    case diskEnds(SimulatedNode, SimulatedDaemon)
    /// A disk works again.
    case diskMended(SimulatedNode)
    /// A daemon has waited long enough for its disk.
    case diskPatience(SimulatedNode, SimulatedDaemon)
    /// An image of a copy is made; and later its copy is exchanged.
    case imageCopy
    indirect case outage(CopyOutage)
    /// Operators change where a volume's copies are, and start its group again; a server gets another backing.
    case changeBackings
    indirect case configureVolume(VolumePolicy)
    case startAgain(GroupName)
    case useBacking(SimulatedVolume)
    /// Operators say in which sites a node is to lead.
    case preferSites
    /// Operators announce a pause; what then comes of it.
    case announcePause
    case announced(SimulatedNode, Span)
}

extension Simulation {
    func handle(_ event: SwarmEvent) {
        if case .attribute = event { return self.useAttribute() }
        self.disturb()
        switch event {
        case .attribute: return
        case .strike: self.strike()
        case .wish: self.wish()
        case .reconfigure: self.reconfigure()
        case .changeMembers: self.changeMembers()
        case .letGo(let id, let until): self.letGo(id, until: until)
        case .doWithout(let id, let isReplaced): self.doWithout(id, isReplaced: isReplaced)
        case .bootsFirst(let node): self.bootFirst(node)
        case .switchOff(let node): self.switchOff(node)
        case .becomes(let node, let role): self.become(role, node)
        case .join(let node): self.join(node)
        case .farewell(let node, let from, let generation): self.hearFarewell(node, from, of: generation)
        case .moment(let fault, let id): self.happen(fault, on: self.node(id))
        case .move: self.moveSomething()
        case .wearOut(let node, let group, let left): self.wearOut(node, group, left: left)
        case .restart(let node, let back): self.killDaemon(node, until: back)
        case .cutOff(let id, let until): self.cutOff(id, until: until)
        case .hangDisk(let node, let until): self.hangDisk(of: node, until: until)
        case .moveGroup(let group, let node): self.operate(.move(group, to: node))
        case .removalLook(let group, let epoch): self.checkRemoved(group, epoch)
        case .shortenLease: self.shortenLease()
        case .restartOthers(let id): self.restartOthers(than: id)
        case .diskEnds(let node, let daemon): self.endDaemon(node, daemon, "cannot write its log")
        case .diskMended(let node): self.mendDisk(of: node)
        case .diskPatience(let node, let daemon): self.losePatience(node, daemon)
        case .imageCopy: self.imageCopy()
        case .outage(let outage): self.losePower(outage)
        case .changeBackings: self.changeBackings()
        case .configureVolume(let volume): self.configure(volume)
        case .startAgain(let group): self.operate(.want(group, isRunning: true))
        case .useBacking(let volume): self.useBacking(of: volume)
        case .preferSites: self.preferSites()
        case .announcePause: self.announcePause()
        case .announced(let node, let length): self.keepAnnounced(node, length)
        }
    }
}
