import Basis
import Host

/// What agents know about the node that they run on.
public struct AgentEnvironment: Sendable {
    /// Sockets, records and logs of what runs, `/run/holdfast`; lost at reboot like everything it describes.
    public var runDirectory: String
    /// The cgroup under which everything runs; groups are in `groups/GROUP/RESOURCE` below it.
    public var cgroupRoot: String
    /// This node's name, for services that ask.
    public var nodeName: String
    /// The cluster's name, for services that ask.
    public var clusterName: String
    /// Where OCF agents are installed.
    public var ocfRoot: String
    /// This program's file, for the parts of it that run as processes of their own.
    public var program: String
    /// How long what a service asks of its volume waits when the volume server is gone: long enough for that to be started
    /// anew and opened. Then it fails.
    public var volumeDeadTime = Span.seconds(30)
    /// The boot clock.
    public var clock: @Sendable () -> Tick
    /// Takes one line for the node's log.
    public var log: @Sendable (String) -> Void
    /// Runs first on every thread that executes calls, for example to enter a namespace.
    public var threadSetup: @Sendable () -> Void
    /// Whether the lease lets this node have the addresses of its groups now. (Rules L12, L20)
    public var mayHoldAddresses: @Sendable () -> Bool

    /// An environment from its parts; the clock is the machine's boot clock unless given.
    public init(
        runDirectory: String, cgroupRoot: String, nodeName: String, clusterName: String,
        ocfRoot: String = "/usr/lib/ocf", program: String = "/proc/self/exe",
        clock: @escaping @Sendable () -> Tick = { MachineClock.now },
        log: @escaping @Sendable (String) -> Void = { _ in }, threadSetup: @escaping @Sendable () -> Void = {},
        mayHoldAddresses: @escaping @Sendable () -> Bool = { true }
    ) {
        self.runDirectory = runDirectory
        self.cgroupRoot = cgroupRoot
        self.nodeName = nodeName
        self.clusterName = clusterName
        self.ocfRoot = ocfRoot
        self.program = program
        self.clock = clock
        self.log = log
        self.threadSetup = threadSetup
        self.mayHoldAddresses = mayHoldAddresses
    }

    /// The cgroup that holds all groups; the guard kills it as a whole.
    public var groupsCgroup: ControlGroup { ControlGroup(self.cgroupRoot).child("groups") }
    /// The cgroup of one group.
    public func cgroup(of group: GroupName) -> ControlGroup { self.groupsCgroup.child(group.rawValue) }
    /// The cgroup of a stop that follows a kill; nothing of a service is ever in it.
    func stopsCgroup(of group: GroupName, _ resource: ResourceName) -> ControlGroup {
        ControlGroup(self.cgroupRoot).child("stops").child(group.rawValue).child(resource.rawValue)
    }
    /// The cgroup of one resource.
    public func cgroup(of group: GroupName, _ resource: ResourceName) -> ControlGroup {
        self.cgroup(of: group).child(resource.rawValue)
    }
}
