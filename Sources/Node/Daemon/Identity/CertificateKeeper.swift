import Basis
import Cluster
import Host

/// Sees to it that this node's certificate is renewed, on a thread of its own.
final class CertificateKeeper: Sendable {
    private static let lookInterval = Span.seconds(1)
    /// Between two attempts to get keys of authorities from other members.
    private static let fetchPause = Span.seconds(3)

    private let desk: CertificateDesk
    private let bootID: String
    private let queue: LoopQueue
    private let log: DriverLog
    private let isAsked = Locked(false)

    init(_ desk: CertificateDesk, bootID: String, queue: LoopQueue, log: DriverLog) {
        self.desk = desk
        self.bootID = bootID
        self.queue = queue
        self.log = log
    }

    /// A person wants another certificate now.
    func ask() { self.isAsked.change { $0 = true } }

    /// What the log is to know of the present pair.
    func present(_ authorities: Authorities) throws -> CertificateRecord { try self.desk.present(authorities) }

    /// Makes an authority to take the place of the present one.
    func makeAuthority<Result>(
        _ authorities: Authorities, _ body: (Authorities.Change) async throws -> Result
    ) async throws -> Result {
        try await self.desk.makeAuthority(authorities, body)
    }

    /// Starts the thread; `refresh` is called there when the files may have changed.
    func start(_ refresh: @escaping @Sendable () -> Void) {
        SystemThread.start("certificates") {
            var care = CertificateCare()
            var lastFailure = ""
            var nextFetch = Tick.zero
            while true {
                let isAsked = self.isAsked.wait(atMost: Self.lookInterval) { wants -> Bool? in
                    guard wants else { return nil }
                    wants = false
                    return true
                }
                refresh()
                self.look(&care, isAsked: isAsked != nil, &lastFailure, &nextFetch, refresh)
            }
        }
    }

    private func look(
        _ care: inout CertificateCare, isAsked: Bool, _ lastFailure: inout String, _ nextFetch: inout Tick,
        _ refresh: () -> Void
    ) {
        guard let situation = self.desk.situation() else { return }
        var effects: [CertificateCare.Effect] = []
        if isAsked { care.step(.asked, at: MachineClock.now, into: &effects) }
        do {
            let now = MachineClock.now
            let fetches = now >= nextFetch
            if fetches { nextFetch = now + Self.fetchPause }
            try self.desk.settleAuthorities(situation, fetches: fetches)
            // Before anybody hears that an authority is trusted here.
            refresh()
            let present = try self.desk.present(situation.authorities)
            let me = situation.nodes.first { $0.id == self.desk.file.id }
            care.step(
                .look(
                    .init(
                        node: self.desk.file.id, present: present, known: me?.certificate,
                        isShared: me?.twins.isToRenew(present.fingerprint, bootID: self.bootID) ?? false,
                        wanted: situation.authorities.wanted?.fingerprint,
                        seconds: situation.seconds, mayTell: situation.mayTell)),
                at: MachineClock.now, into: &effects)
        } catch {
            self.complain("this node's certificate cannot be read: \(error)", &lastFailure)
        }
        for effect in effects {
            switch effect {
            case .tell(let record):
                let command = Command.certified(self.desk.file.id, record)
                self.queue.change { $0.append(.request(.propose(command)) { _ in }) }
            case .renew:
                var failure: String?
                do {
                    try self.desk.renew(situation)
                    lastFailure = ""
                } catch {
                    failure = "\(error)"
                    self.complain(
                        "this node's certificate could not be renewed (nothing stops for that): \(error)", &lastFailure)
                }
                var none: [CertificateCare.Effect] = []
                care.step(.ended(failure: failure), at: MachineClock.now, into: &none)
            }
        }
    }

    private func complain(_ text: String, _ last: inout String) {
        if text != last { self.log.warning(text) }
        last = text
    }
}
