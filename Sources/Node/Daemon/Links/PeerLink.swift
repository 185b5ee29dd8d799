import Basis
import Cluster
import Host
import SecureLink

/// The outgoing connection to one peer: written to, and read only for the word that this node has left. Dialled again
/// whenever it breaks or stalls.
///
/// A link that is cut does not tell: writes go into the kernel's buffer, whose retries grow rarer and rarer. So a
/// connection whose peer acknowledges nothing for a moment is given up, and while there is none a new attempt starts
/// every `LinkPatience.dialInterval` beside those still under way: after a heal the link is back within about that time.
final class PeerLink: Sendable {
    private struct Frame {
        var bytes: [UInt8]
        /// Worthless once late: dropped first.
        var isPerishable: Bool
    }

    private struct State {
        var peer: PeerSpec
        var stream: TLSStream?
        var frames: [Frame] = []
        /// They go before all others, however many wait.
        var urgent: [[UInt8]] = []
        var bytes = 0
        var writingSince: Tick?
        var patience = LinkPatience()
        var attempts = 0
        /// Attempts that were begun: every other one goes to the former address, while there is one. (Rule J4)
        var begun = 0
        var nextAttempt = Tick.zero
        var pause = PeerLink.shortestPause
        var lastFailure = ""
        var toldFailureAt = Tick.zero
        var isClosed = false
        /// Its writing thread was started.
        var isServed = false
    }

    /// A dead node fails in turn by silence and by an unreachable address: another reason alone is no news.
    private static let failurePause = Span.seconds(30)
    private static let bytesMaximum = 8 << 20
    private static let framesMaximum = 4096
    private static let urgentMaximum = 256
    /// So many bytes go in one write, and the rest of the frame they end in.
    private static let batchBytes = 64 << 10
    private static let shortestPause = Span.milliseconds(50)
    /// Nothing written for this long: the link is cut.
    private static let writeStall = Span.milliseconds(1500)

    private let context: TLSContext
    private let cluster: String
    private let log: DriverLog
    /// How long another node that answers has to say farewell.
    private static let farewellPatience = Span.seconds(1)

    private let parted: @Sendable (NodeID, Parting) -> Void
    private let state: Locked<State>

    init(
        _ peer: PeerSpec, context: TLSContext, cluster: String, log: DriverLog,
        parted: @escaping @Sendable (NodeID, Parting) -> Void
    ) {
        self.parted = parted
        self.context = context
        self.cluster = cluster
        self.log = log
        self.state = Locked(State(peer: peer))
    }

    /// Starts the writing thread; without one nothing is dialled.
    func start() {
        let name = self.state.withLock { $0.peer.name }
        if SystemThread.start("to \(name)", isPrompt: true, { self.writeForever() }) {
            self.state.change { $0.isServed = true }
        }
    }

    var peer: PeerSpec { self.state.withLock { $0.peer } }

    /// The version of messages that the peer reads, as far as the present connection says.
    var version: UInt32 { self.state.withLock { $0.stream?.agreedVersion } ?? Format.envelope.oldest }

    /// Queues a frame in a version of the messages. Without a connection nothing is kept, nor what the peer cannot read since it
    /// was connected anew: what is sent later is newer.
    func send(_ body: [UInt8], in version: UInt32, isPerishable: Bool, isUrgent: Bool = false) {
        self.state.change { state in
            guard let stream = state.stream, stream.agreedVersion >= version, !state.isClosed else { return }
            if isUrgent {
                if state.urgent.count < Self.urgentMaximum { state.urgent.append(body) }
                return
            }
            if state.bytes + body.count > Self.bytesMaximum || state.frames.count >= Self.framesMaximum {
                state.frames.removeAll { $0.isPerishable }
                state.bytes = state.frames.reduce(0) { $0 + $1.bytes.count }
                // Consensus repeats what is lost.
                if state.bytes + body.count > Self.bytesMaximum || state.frames.count >= Self.framesMaximum { return }
            }
            state.frames.append(Frame(bytes: body, isPerishable: isPerishable))
            state.bytes += body.count
        }
    }

    /// The peer moved to another address, or changed its name. What works goes on working until it breaks. (Rule J4)
    func update(_ peer: PeerSpec) {
        let revoked = self.state.change { state -> TLSStream? in
            state.peer = peer
            guard let stream = state.stream, peer.twins.isRevoked(stream.peerFingerprint) else { return nil }
            return Self.drop(&state)
        }
        revoked?.shutdown()
    }

    /// Ends the link for good.
    func close() {
        let stream = self.state.change { state -> TLSStream? in
            state.isClosed = true
            return Self.drop(&state)
        }
        stream?.shutdown()
    }

    /// Dials when it is time, and gives up a connection that stalls. Called every few hundredths of a second.
    func look(at now: Tick) {
        let stalled = self.state.change { state -> TLSStream? in
            guard let stream = state.stream else { return nil }
            let isBlocked = state.writingSince.map { now.since($0) > Self.writeStall } ?? false
            let isSilent = state.patience.isStalled(unacknowledged: stream.unacknowledged, at: now)
            return isBlocked || isSilent ? Self.drop(&state) : nil
        }
        if let stalled {
            self.log.warning("the link to \(self.peer.name) stalls; connecting anew")
            if !SystemThread.start("closing", { stalled.shutdown() }) { stalled.shutdown() }
        }
        if self.state.withLock({ !$0.isServed && !$0.isClosed }) { self.start() }
        let target = self.state.change { state -> (PeerSpec, String)? in
            guard !state.isClosed, state.isServed, state.stream == nil, now >= state.nextAttempt,
                state.attempts < state.patience.attemptsMaximum
            else { return nil }
            state.attempts += 1
            state.nextAttempt = now + state.patience.dialInterval
            state.begun += 1
            let former = state.begun % 2 == 0 ? state.peer.formerAddress : nil
            return (state.peer, former ?? state.peer.address)
        }
        if let (peer, address) = target, !SystemThread.start("dialling", { self.dial(peer, at: address) }) {
            self.finished(nil, "the system has no thread left", isHandshake: false, peer)
        }
    }

    private func dial(_ peer: PeerSpec, at address: String) {
        var failure = ""
        var isHandshake = false
        var stream: TLSStream?
        let timeout = self.state.withLock { $0.patience.connectTimeout }
        if let place = HostPort(address) {
            do throws(SecureLinkError) {
                let connected = try TLSStream.connect(
                    host: place.host, port: place.port, context: self.context, timeout: timeout)
                if peer.twins.isRevoked(connected.peerFingerprint), connected.peerNode == peer.node {
                    failure = "a copy of \(peer.name), or a former certificate of it, answers there (E5)"
                    connected.shutdown()
                } else if connected.peerNode == peer.node, connected.peerCluster == self.cluster {
                    connected.limitUnacknowledged(to: .seconds(2))
                    stream = connected
                } else {
                    failure = "\(connected.peerName ?? "something else") answers there; check the nodes' addresses"
                    self.hearOther(connected)
                }
            } catch {
                failure = error.description
                isHandshake = error.isSlowHandshake
            }
        } else {
            failure = "its address \(address) is not HOST:PORT"
        }
        self.finished(stream, failure, isHandshake: isHandshake, peer)
    }

    /// The address is another node's by now, which may know that this one has left: where all others are new, nobody else can
    /// say so. (Rule J6)
    private func hearOther(_ stream: TLSStream) {
        defer { stream.shutdown() }
        guard let node = stream.peerNode, stream.peerCluster == self.cluster else { return }
        let hasEnded = Locked(false)
        let isListening = SystemThread.start("hearing \(node)") {
            if let parting = Farewell.wait(on: stream) { self.parted(node, parting) }
            hasEnded.change { $0 = true }
        }
        if isListening { _ = hasEnded.wait(atMost: Self.farewellPatience) { $0 ? true : nil } }
    }

    private func finished(_ stream: TLSStream?, _ failure: String, isHandshake: Bool, _ peer: PeerSpec) {
        let now = MachineClock.now
        let (isUsed, isNews) = self.state.change { state -> (Bool, Bool) in
            state.attempts -= 1
            if let stream, state.stream == nil, !state.isClosed, state.peer.node == peer.node {
                state.stream = stream
                state.patience.connected()
                state.pause = Self.shortestPause
                state.lastFailure = ""
                return (true, true)
            }
            guard state.stream == nil, stream == nil else { return (false, false) }
            state.patience.failed(isHandshake: isHandshake)
            // A refusal comes at once: then the pause grows, up to the interval of attempts. Who is slow is not hurried.
            if isHandshake { state.pause = state.patience.dialInterval }
            let next = now + state.pause
            if next < state.nextAttempt { state.nextAttempt = next }
            state.pause = min(state.pause * 2, state.patience.dialInterval)
            let isFirst = state.lastFailure.isEmpty
            let isNews =
                state.lastFailure != failure && (isFirst || now.since(state.toldFailureAt) >= Self.failurePause)
            if isNews {
                state.lastFailure = failure
                state.toldFailureAt = now
            }
            return (false, isNews)
        }
        if isUsed {
            self.log.info("linked to \(peer.name)")
            if let stream { self.hearFarewell(stream, peer) }
        } else if stream == nil, isNews {
            self.log.warning("no link to \(peer.name): \(failure)")
        }
        if !isUsed { stream?.shutdown() }
    }

    /// Who was dialled says nothing but farewell; when the connection ends instead, it is dialled again at once.
    private func hearFarewell(_ stream: TLSStream, _ peer: PeerSpec) {
        SystemThread.start("hearing \(peer.name)") {
            let parting = Farewell.wait(on: stream)
            if let parting { self.parted(peer.node, parting) }
            let isDropped = self.state.change { state in
                guard state.stream === stream else { return false }
                _ = Self.drop(&state)
                // Who was shown out knocks again, but not all the time.
                if let parting { state.nextAttempt = MachineClock.now + parting.pause }
                return true
            }
            if isDropped { stream.shutdown() }
        }
    }

    private static func drop(_ state: inout State) -> TLSStream? {
        let stream = state.stream
        state.stream = nil
        state.frames.removeAll(keepingCapacity: true)
        state.urgent.removeAll(keepingCapacity: true)
        state.bytes = 0
        state.writingSince = nil
        state.nextAttempt = .zero
        return stream
    }

    /// Takes the frames of the next write off the line.
    private static func batch(_ state: inout State) -> [Frame] {
        var bytes = 0
        var count = 0
        while count < state.frames.count, bytes < Self.batchBytes {
            bytes += state.frames[count].bytes.count
            count += 1
        }
        let batch = Array(state.frames[..<count])
        state.frames.removeFirst(count)
        state.bytes -= bytes
        return batch
    }

    private func writeForever() {
        var buffer: [UInt8] = []
        while true {
            buffer.removeAll(keepingCapacity: true)
            let work = self.state.wait { state -> TLSStream?? in
                if state.isClosed { return .some(nil) }
                guard let stream = state.stream, !state.frames.isEmpty || !state.urgent.isEmpty else { return nil }
                for body in state.urgent { LinkFrames.append(body, to: &buffer) }
                state.urgent.removeAll(keepingCapacity: true)
                // Not all at once: what is urgent waits for one batch at most.
                let batch = Self.batch(&state)
                for frame in batch { LinkFrames.append(frame.bytes, to: &buffer) }
                state.writingSince = MachineClock.now
                return .some(stream)
            }
            guard let work, let stream = work else { return }
            var failure: SecureLinkError?
            do throws(SecureLinkError) { try LinkFrames.send(buffer, to: stream) } catch { failure = error }
            if buffer.capacity > 1 << 20 { buffer = [] }
            self.state.change { state in
                guard state.stream === stream else { return }
                state.writingSince = nil
                if failure != nil { _ = Self.drop(&state) }
            }
            if let failure { self.log.warning("lost the link to \(self.peer.name): \(failure)") }
        }
    }
}
