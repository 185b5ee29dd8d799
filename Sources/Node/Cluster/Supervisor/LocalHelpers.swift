import Basis

/// What runs beside this daemon and outlives it: what it is, and which of it is renewed next after an upgrade. One at a time, and
/// each once in the life of a daemon: should what comes be another program too, nothing is started anew without end.
struct LocalHelpers: Sendable {
    /// What this node runs of the product.
    private(set) var programs: NodePrograms
    /// Grows with each change of it.
    private(set) var programsVersion: UInt64 = 1
    /// What would be started in its place is the file that the daemon runs.
    private var renewable: [HelperRole] = []
    private var renewed: [HelperRole] = []
    /// What was asked for last and is not back yet, and how long it is waited for.
    private var awaited: HelperRole?
    private var nextAt = Tick.zero

    /// What is renewed settles before the next one goes.
    private static let pause = Span.seconds(1)
    /// What does not come back by then is nobody's business here: whoever keeps it starts it again and again.
    private static let patience = Span.seconds(10)

    init(_ release: Release) { self.programs = NodePrograms(daemon: release, servers: []) }

    /// A helper is there, or no more.
    mutating func runs(_ role: HelperRole, _ helper: NodePrograms.Helper?, isRenewable: Bool, at now: Tick) {
        let before = self.programs
        defer { if self.programs != before { self.programsVersion += 1 } }
        self.renewable.removeAll { $0 == role }
        if isRenewable { self.renewable.append(role) }
        switch role {
        case .guardian: self.programs.guardian = helper
        case .server(let volume):
            self.programs.servers.removeAll { $0.volume == volume }
            if let helper {
                self.programs.servers.append(.init(volume: volume, helper: helper))
                self.programs.servers.sort { $0.volume < $1.volume }
            }
        }
        if role == self.awaited, helper?.isPresent == true {
            self.awaited = nil
            self.nextAt = now + Self.pause
        }
    }

    /// What is to be renewed next; nil for now, or when nothing is.
    func due(at now: Tick) -> HelperRole? {
        guard now >= self.nextAt, !self.renewable.isEmpty else { return nil }
        return self.old.first { self.renewable.contains($0) && !self.renewed.contains($0) }
    }

    /// It is asked for.
    mutating func renews(_ role: HelperRole, at now: Tick) {
        self.renewed.append(role)
        self.awaited = role
        self.nextAt = now + Self.patience
    }

    /// What runs another program than the daemon: the guard first.
    private var old: [HelperRole] {
        let guardian: [HelperRole] = self.programs.guardian?.isPresent == false ? [.guardian] : []
        return guardian + self.programs.servers.filter { !$0.helper.isPresent }.map { .server($0.volume) }
    }
}
