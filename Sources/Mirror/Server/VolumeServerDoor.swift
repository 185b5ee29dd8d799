import Basis
import CopyStorage
import Host
import Mirror

/// The control socket before there is a server behind it: says what was found where the copy should be, and makes a copy
/// when the daemon says that the cluster knows none here. (Rule V20)
final class VolumeServerDoor: Sendable {
    let control: ControlSocket
    private let options: VolumeServerOptions
    private let log: @Sendable (String) -> Void
    private struct State {
        var server: VolumeServer?
        var report: CopyReport?
        var isAsked = false
    }
    private let state = Locked(State())
    /// How long until it looks again, if nobody asks.
    private static let lookInterval = Span.seconds(2)

    init(_ options: VolumeServerOptions, _ control: ControlSocket, _ log: @escaping @Sendable (String) -> Void) {
        self.options = options
        self.control = control
        self.log = log
    }

    /// Opens the copy, or waits until one may be made.
    func awaitCopy() throws(VolumeServerError) -> (CopyStore<RealDisk>, VolumeMetadata) {
        do throws(StoreError) {
            if case .copy(let copy, let metadata) = try self.look() {
                self.run()
                return (copy, metadata)
            }
            self.run()
            while true {
                let isAsked = self.await()
                // A file system may have been mounted meanwhile.
                switch try self.look() {
                case .copy(let copy, let metadata): return (copy, metadata)
                case .none(let report):
                    guard isAsked, case .none(_, mayMake: true) = report.finding else { continue }
                    self.log("makes a new copy in \(self.options.backingPath)")
                    return try CopyStore.make(self.options.place, on: RealDisk(), draw: randomIdentity)
                }
            }
        } catch {
            throw .store(error)
        }
    }

    private func look() throws(StoreError) -> CopyStore<RealDisk>.Found {
        let found = try CopyStore.open(self.options.place, on: RealDisk(), draw: randomIdentity)
        var now: CopyReport?
        if case .none(let report) = found { now = report }
        let before = self.state.withLock { state in
            defer { state.report = now }
            return state.report
        }
        if let now, now != before, case .none(let reason, _) = now.finding {
            self.log(reason)
            if before != nil { self.perform(.report()) }
        }
        return found
    }

    /// Until the daemon asks for a copy, or it is time to look again; whether it asked.
    private func await() -> Bool {
        self.state.wait(atMost: Self.lookInterval) { state -> Bool? in
            defer { state.isAsked = false }
            return state.isAsked ? true : nil
        } ?? false
    }

    private func run() {
        let isStarted = SystemThread.start("volume") { self.control.run { self.perform($0) } }
        precondition(isStarted, "the system has no thread left for the volume server")
    }

    /// From here on the server answers.
    func admit(_ server: VolumeServer) {
        self.state.withLock { $0.server = server }
        // The daemon that is connected already asked before there was anything to say.
        server.perform(.report())
    }

    private func perform(_ command: VolumeCommand) {
        let (server, report) = self.state.withLock { ($0.server, $0.report) }
        if let server { return server.perform(command) }
        guard let report, case .none(let reason, _) = report.finding else { return }
        switch command {
        case .report(let question):
            var answer = report
            answer.answers = question
            self.control.send(.copy(answer))
            self.control.send(.failed(reason: reason))
            self.control.send(.status(VolumeStatus(role: .failed, epoch: .none, dirtyBytes: 0)))
        case .open: self.control.send(.failed(reason: reason))
        case .close(let epoch): self.control.send(.closed(epoch: epoch))
        case .makeCopy: self.state.change { $0.isAsked = true }
        case .inSyncChanged, .freeze, .thaw, .detach, .over, .takenBack, .resyncAll, .noted, .peers: break
        }
    }
}
