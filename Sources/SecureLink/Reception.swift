import Basis
import CLinux
import Glibc
import Host
import Synchronization

/// Takes connections from a listener and shakes hands with them, so that nobody from outside can take every thread or
/// descriptor of the process. (Rule N1)
///
/// Handshakes are bounded in number and time. Connections from where nodes of the cluster are, or were seen with a
/// certificate, come before all others.
public final class Reception: Sendable {
    private struct State {
        var doorway: Doorway
        /// Descriptors of the handshakes under way, by their number in the doorway.
        var sockets: [UInt64: Int32] = [:]
        var threads = 0
        /// Addresses of the nodes, as the configuration names them.
        var named: Set<String> = []
        /// Where somebody with a certificate came from, the latest last.
        var seen: [String] = []
        var refusals: [Refusal] = []
    }

    private struct Refusal {
        var source: String
        var toldAt: Tick
        var untold = 0
    }

    private static let seenMaximum = 64
    private static let refusalsMaximum = 32
    private static let refusalInterval = Span.seconds(60)
    /// Threads of handshakes that were cut off and have not noticed yet.
    private static let leavingMaximum = 16

    private let listener: Listener
    private let context: TLSContext
    private let handshakeTimeout: Span
    private let budget: DescriptorBudget
    private let spawn: @Sendable (@escaping @Sendable () -> Void) -> Bool
    private let warn: @Sendable (String) -> Void
    private let state: Mutex<State>

    /// Nothing is accepted before `run`. `spawn` starts a thread, false when there is none; `warn` gets sentences from
    /// any thread, a bounded number of them whatever comes.
    public init(
        listener: Listener, context: TLSContext, handshakeTimeout: Span, budget: DescriptorBudget,
        spawn: @escaping @Sendable (@escaping @Sendable () -> Void) -> Bool, warn: @escaping @Sendable (String) -> Void
    ) {
        self.listener = listener
        self.context = context
        self.handshakeTimeout = handshakeTimeout
        self.budget = budget
        self.spawn = spawn
        self.warn = warn
        self.state = Mutex(State(doorway: Doorway(places: budget.handshakes)))
    }

    /// Connections from these hosts come first; names count once somebody with a certificate came from there.
    public func know(_ hosts: [String]) {
        let named = Set(hosts.map { Sockets.canonical($0) ?? $0 })
        self.state.withLock { $0.named = named }
    }

    /// Accepts until the listener is closed. `greet` gets each stream on a thread of its own.
    public func run(_ greet: @escaping @Sendable (TLSStream) -> Void) {
        while true {
            do throws(SecureLinkError) {
                self.receive(try self.listener.acceptRaw(), greet)
            } catch {
                if case .listenerClosed = error { return }
                self.warn("no connection can be accepted: \(error)")
                SystemThread.sleep(.milliseconds(200))
            }
            // Who was shown out leaves within a moment: its socket is dead.
            while self.state.withLock({ $0.threads >= self.budget.handshakes + Self.leavingMaximum }) {
                SystemThread.sleep(.milliseconds(1))
            }
        }
    }

    private func receive(_ socket: Int32, _ greet: @escaping @Sendable (TLSStream) -> Void) {
        let host = Sockets.numericName(socket, getpeername)?.host ?? ""
        let isKnown = self.state.withLock { $0.named.contains(host) || $0.seen.contains(host) }
        guard self.budget.admits(socket, isKnown: isKnown) else {
            Glibc.close(socket)
            return self.refuse(host, "this process has few file descriptors left; raise LimitNOFILE if this goes on")
        }
        let until = MachineClock.now + self.handshakeTimeout
        let (number, shownOut) = self.state.withLock { state -> (UInt64, Bool) in
            let (number, shownOut) = state.doorway.enter(
                from: Sockets.sourceKey(host), isKnown: isKnown, until: until)
            state.sockets[number] = socket
            if let shownOut, shownOut != number, let other = state.sockets[shownOut] {
                Glibc.shutdown(other, Int32(SHUT_RDWR))
            }
            return (number, shownOut != nil)
        }
        if shownOut { self.refuse(host, "more handshakes at a time than \(self.budget.handshakes)") }
        let stays = self.state.withLock { state in state.doorway.guests.contains { $0.number == number } }
        if stays {
            self.state.withLock { $0.threads += 1 }
            if self.spawn({ self.shakeHands(socket, number, host, greet) }) { return }
            self.state.withLock { $0.threads -= 1 }
            self.refuse(host, "the system has no thread left")
        }
        self.finish(number) { Glibc.close(socket) }
    }

    private func shakeHands(
        _ socket: Int32, _ number: UInt64, _ host: String, _ greet: @Sendable (TLSStream) -> Void
    ) {
        var stream: TLSStream?
        do throws(SecureLinkError) {
            stream = try TLSStream.handshake(
                accepted: socket, context: self.context, timeout: self.handshakeTimeout,
                giveUp: { socket in self.finish(number) { Glibc.close(socket) } })
        } catch {
            self.refuse(host, "\(error)")
        }
        self.finish(number) {}
        self.state.withLock { state in
            state.threads -= 1
            guard stream?.peerNode != nil, state.seen.last != host else { return }
            state.seen.removeAll { $0 == host }
            state.seen.append(host)
            if state.seen.count > Self.seenMaximum { state.seen.removeFirst() }
        }
        if let stream { greet(stream) }
    }

    /// Takes a handshake off the list; `close` runs before anybody else may use the descriptor's number.
    private func finish(_ number: UInt64, _ close: () -> Void) {
        self.state.withLock { state in
            state.doorway.leave(number)
            state.sockets[number] = nil
            close()
        }
    }

    /// Says what became of connections: of each source once a minute, and of no more than a few sources.
    public func refuse(_ host: String, _ reason: String) {
        let now = MachineClock.now
        let text = self.state.withLock { state -> String? in
            state.refusals.removeAll { $0.untold == 0 && now.since($0.toldAt) > Self.refusalInterval }
            if let index = state.refusals.firstIndex(where: { $0.source == host }) {
                guard now.since(state.refusals[index].toldAt) > Self.refusalInterval else {
                    state.refusals[index].untold += 1
                    return nil
                }
                defer { state.refusals[index] = Refusal(source: host, toldAt: now) }
                return "connections from \(host) were refused, \(state.refusals[index].untold + 1) since the last "
                    + "time this was said; the last one: \(reason)"
            }
            guard state.refusals.count < Self.refusalsMaximum else { return nil }
            state.refusals.append(Refusal(source: host, toldAt: now))
            return "a connection from \(host) was refused: \(reason)"
        }
        if let text { self.warn(text) }
    }
}

extension DescriptorBudget {
    /// How this process divides what it may have now.
    public static var ofThisProcess: DescriptorBudget {
        DescriptorBudget(limit: Int(clamping: min(holdfast_descriptor_limit(), 1 << 20)))
    }

    /// Raises what this process may have to what its starter allows; services that it starts get back what it was.
    public static func raise() { holdfast_raise_descriptor_limit() }
}
