import Basis

/// What a kill takes down of a resource whose agent cannot stop it, or is not asked: at the end of the lease, when a stop
/// failed, and when its daemon is gone. (Rules L11, L12)
public enum KillReach: Equatable, Sendable {
    /// All of it; how, in words that go on after the resource's name.
    case everything(String)
    /// Its processes. What else it keeps, in the kernel or in another daemon, ends only by its agent's `stop`.
    case processesAlone

    /// Stock agents whose resource is an address.
    private static let addresses = ["IPaddr", "IPaddr2", "IPv6addr"]
    /// Stock agents whose resource lives in processes that they start themselves.
    private static let services = [
        "Squid", "anything", "apache", "dhcpd", "dovecot", "mariadb", "mysql", "named", "nginx", "pgsql", "postfix",
        "proftpd", "redis", "rsyncd", "slapd", "syslog-ng", "tomcat", "varnish",
    ]

    /// How far a kill reaches for what is run so.
    public init(_ kind: ResourceKind) {
        switch kind {
        case .exec: self = .everything("its processes are killed with their cgroup")
        case .address: self = .everything("its address is dropped")
        case .filesystem: self = .everything("it is unmounted")
        case .volume: self = .everything("it is frozen, and its device is cut off")
        case .ocf("heartbeat", let type) where Self.addresses.contains(type):
            self = .everything("its address is dropped")
        case .ocf("heartbeat", "Filesystem"): self = .everything("it is unmounted")
        case .ocf("heartbeat", let type) where Self.services.contains(type):
            self = .everything("its processes are killed with their cgroup")
        case .ocf: self = .processesAlone
        case .unknown: self = .everything("nothing runs it")
        }
    }
}

extension ResourcePolicy {
    /// Whether a kill surely ends it, by its agent's nature or by the operator's word (`killable: true`).
    public var isKillable: Bool { self.isDeclaredKillable || KillReach(self.kind) != .processesAlone }
}
