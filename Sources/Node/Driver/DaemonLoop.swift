import Basis
import Mirror
import Raft
import Resources

/// The one thread that owns the supervisor: takes an input, reads the clock, steps, performs the effects in order.
final class DaemonLoop: @unchecked Sendable {
    /// What the loop can be handed.
    enum Item: Sendable {
        /// For the supervisor.
        case input(SupervisorInput)
        /// For the supervisor, with somebody who waits for the answer.
        case request(ClientRequest, @Sendable (ClientReply) -> Void)
        /// A look at the supervisor between two steps.
        case inspect(@Sendable (View) -> Void)
        /// The end.
        case stop
    }

    /// The supervisor at one moment.
    struct View: Sendable {
        /// A copy.
        var supervisor: Supervisor
        /// The moment.
        var now: Tick
        /// The wall clock at that moment, for people.
        var wallMilliseconds: UInt64
        /// When a leader was last heard, or this node last led with a majority.
        var leaderSeenAt: Tick?
        /// The log takes no more writes.
        var isPoisoned: Bool
    }

    /// What the loop acts upon; each is called on the loop's thread and must not block.
    struct Actors {
        var persist: (PersistRequest) throws -> Void
        /// Says in a second place what the log holds, once it rests.
        var seal: () throws -> Void
        /// Puts the log aside and ends the daemon. (Rule E2.2)
        var forget: (String) -> Void
        var send: (Envelope, NodeID) -> Void
        var lease: LeasePage
        var facts: (Facts) throws -> Void
        var call: (AgentCall) -> Void
        var cancel: (UInt64) -> Void
        var inspect: (UInt64, NodeID, [InspectionQuestion]) -> Void
        var killGroup: (GroupName) -> Void
        var forgetStarted: (GroupName) -> Void
        var volume: (VolumeName, VolumeCommand) -> Void
        var volumeServers: ([VolumeServerSpec]) -> Void
        var peers: ([PeerSpec]) -> Void
        /// Called about twenty times a second.
        var housekeeping: (Tick) -> Void
        /// Called once, when the log takes no more writes: what this node could still promise is over.
        var logFailed: (any Error) -> Void
    }

    private static let tickInterval = Span.milliseconds(50)
    private static let restBeforeSeal = Span.seconds(1)
    private static let publishInterval = Span.milliseconds(500)

    private let queue: WaitingLock<[Item]>
    private let published: WaitingLock<View?>
    private let log: DriverLog

    // Owned by the loop's thread from `run` on.
    private var supervisor: Supervisor
    private var actors: Actors
    private var effects: [SupervisorEffect] = []
    private var waiting: [UInt64: @Sendable (ClientReply) -> Void] = [:]
    private var nextClient: UInt64 = 1
    private var isPoisoned = false
    private var guardSeen = Tick.zero
    private var undeadSince = Tick.zero
    private var leaderSeenAt: Tick?
    private var nextTick = Tick.zero
    /// When the log rests and is sealed; `never` once it is.
    private var sealAt = Tick.never
    private var nextPublication = Tick.zero
    private var notes = NoteFilter()
    /// What could not be written yet, for want of room.
    private var unwrittenFacts: Facts?

    init(_ supervisor: Supervisor, queue: WaitingLock<[Item]>, actors: Actors, log: DriverLog) {
        self.supervisor = supervisor
        self.queue = queue
        self.published = WaitingLock(nil)
        self.actors = actors
        self.log = log
    }

    /// Runs until somebody asks for the end.
    func run() {
        var items: [Item] = []
        while true {
            let pause = self.nextTick.since(MachineClock.now)
            items.removeAll(keepingCapacity: true)
            _ = self.queue.wait(atMost: pause) { queue -> Bool? in
                guard !queue.isEmpty else { return nil }
                swap(&queue, &items)
                return true
            }
            for item in items where !self.take(item) { return }
            self.tickIfDue()
        }
    }

    private func take(_ item: Item) -> Bool {
        switch item {
        case .input(let input):
            self.step(input)
        case .request(let request, let answer):
            let id = self.nextClient
            self.nextClient += 1
            self.waiting[id] = answer
            self.step(.client(id: id, request))
        case .inspect(let look):
            look(self.view(at: MachineClock.now))
        case .stop:
            return false
        }
        return true
    }

    private func tickIfDue() {
        guard MachineClock.now >= self.nextTick else { return }
        let seen = self.actors.lease.guardSeen
        if seen != self.guardSeen {
            self.guardSeen = seen
            self.step(.guardSeen(seen))
        }
        let undeadSince = self.actors.lease.undeadSince
        if undeadSince != self.undeadSince {
            self.undeadSince = undeadSince
            self.step(.guardKills(since: undeadSince))
        }
        self.step(.tick)
        let now = MachineClock.now
        self.sealIfResting(at: now)
        self.actors.housekeeping(now)
        self.nextTick = min(max(self.supervisor.deadline, now + .milliseconds(1)), now + Self.tickInterval)
        if now >= self.nextPublication {
            self.nextPublication = now + Self.publishInterval
            let view = self.view(at: now)
            self.published.change { $0 = view }
            if let facts = self.unwrittenFacts { self.write(facts) }
        }
    }

    private func sealIfResting(at now: Tick) {
        guard now >= self.sealAt, !self.isPoisoned else { return }
        self.sealAt = .never
        do { try self.actors.seal() } catch { self.poison(error, at: 0) }
    }

    private func view(at now: Tick) -> View {
        View(
            supervisor: self.supervisor, now: now, wallMilliseconds: MachineClock.wallMilliseconds,
            leaderSeenAt: self.leaderSeenAt, isPoisoned: self.isPoisoned)
    }

    /// The last view that was published: what is known while a disk holds the loop up.
    var latest: View? { self.published.withLock { $0 } }

    // MARK: Steps and effects

    private func step(_ input: SupervisorInput) {
        // Rule L3: the clock is read after the input was received.
        let now = MachineClock.now
        self.supervisor.wallMilliseconds = MachineClock.wallMilliseconds
        self.effects.removeAll(keepingCapacity: true)
        self.supervisor.step(input, at: now, into: &self.effects)
        var place = 0
        while place < self.effects.count {
            self.perform(self.effects[place], at: place)
            place += 1
        }
        self.noteLeader(at: now)
        self.nextTick = min(self.nextTick, self.supervisor.deadline)
    }

    private func noteLeader(at now: Tick) {
        let consensus = self.supervisor.consensus
        if consensus.isLeader {
            self.leaderSeenAt = now
        } else if let leader = consensus.leader, let contact = consensus.lastContacts.first(where: { $0.0 == leader }) {
            self.leaderSeenAt = contact.1
        }
    }

    private func perform(_ effect: SupervisorEffect, at place: Int) {
        switch effect {
        case .persist(let request): self.persist(request, at: place)
        case .forget(let reason):
            self.isPoisoned = true
            self.log.error("this log is not what it was: \(reason)")
            self.actors.forget(reason)
        case .send(let envelope, let hop):
            // What a poisoned daemon says on its way out may hand leadership over, and promise nothing. (Rule L5.2)
            if self.isPoisoned, envelope.message.restsOnLog { return }
            self.actors.send(envelope, hop)
        case .lease(let end, let incarnation, let grace):
            self.actors.lease.publish(end: end, incarnation, grace: grace)
        case .facts(let facts): self.write(facts)
        case .call(let call): self.actors.call(call)
        case .cancel(let id): self.actors.cancel(id)
        case .killGroup(let group): self.actors.killGroup(group)
        case .forgetStarted(let group): self.actors.forgetStarted(group)
        case .inspect(let id, let asker, let questions): self.actors.inspect(id, asker, questions)
        case .volume(let name, let command): self.actors.volume(name, command)
        case .volumeServers(let specs): self.actors.volumeServers(specs)
        case .peers(let peers): self.actors.peers(peers)
        case .reply(let id, let reply): self.waiting.removeValue(forKey: id)?(reply)
        case .note(let text):
            if let line = self.notes.admit(text, at: MachineClock.now) { self.log.info(line) }
        }
    }

    private func write(_ facts: Facts) {
        self.unwrittenFacts = nil
        do { try self.actors.facts(facts) } catch {
            self.unwrittenFacts = facts
            let text = "what runs here cannot be written down: \(error); a restart of the daemon will stop it"
            if let line = self.notes.admit(text, at: MachineClock.now) { self.log.error(line) }
        }
    }

    /// Makes a request durable; what follows in the list is performed after that. What `persisted` leads to is
    /// appended to the list.
    private func persist(_ request: PersistRequest, at place: Int) {
        guard !self.isPoisoned else {
            self.dropPromises(after: place)
            return
        }
        do {
            try self.actors.persist(request)
        } catch {
            self.poison(error, at: place)
            return
        }
        self.sealAt = MachineClock.now + Self.restBeforeSeal
        self.supervisor.step(.persisted(sequence: request.sequence), at: MachineClock.now, into: &self.effects)
    }

    private func poison(_ error: any Error, at place: Int) {
        self.isPoisoned = true
        self.log.error("the log cannot be written: \(error)")
        self.dropPromises(after: place)
        self.supervisor.step(.diskFailed, at: MachineClock.now, into: &self.effects)
        self.actors.logFailed(error)
    }

    /// Messages that rest on something that is not durable must not leave. (Rule L5.2)
    private func dropPromises(after place: Int) {
        for later in self.effects.indices where later > place {
            if case .send(let envelope, _) = self.effects[later], envelope.message.restsOnLog {
                self.effects[later] = .note("a message to \(envelope.to) was held back: the log is not durable")
            }
        }
    }

    /// Looks at the supervisor from any thread: fresh if the loop answers in time, else the last published view.
    static func view(
        _ loop: DaemonLoop, queue: WaitingLock<[Item]>, within limit: Span = .milliseconds(100)
    ) async -> View? {
        let once = OneAnswer<View?>()
        queue.change { $0.append(.inspect { once.give($0) }) }
        let deadline = Task {
            try? await Task.sleep(nanoseconds: limit.nanoseconds)
            once.give(loop.latest)
        }
        defer { deadline.cancel() }
        return await once.value()
    }
}

/// An answer that comes from one of several places; the first counts.
final class OneAnswer<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var isGiven = false
        var continuation: CheckedContinuation<Value, Never>?
    }
    private let state = WaitingLock(State())

    /// Gives the answer, unless there is one.
    func give(_ value: Value) {
        let continuation = self.state.change { state -> CheckedContinuation<Value, Never>? in
            guard !state.isGiven else { return nil }
            state.isGiven = true
            state.value = value
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(returning: value)
    }

    /// Waits for it.
    func value() async -> Value {
        await withCheckedContinuation { continuation in
            let ready = self.state.change { state -> Value? in
                if let value = state.value { return value }
                state.continuation = continuation
                return nil
            }
            if let ready { continuation.resume(returning: ready) }
        }
    }
}

/// Keeps a note that repeats itself from filling the log: the same text at most once in ten seconds.
struct NoteFilter {
    private static let pause = Span.seconds(10)
    private var recent: [(text: String, at: Tick, repeats: Int)] = []

    /// The line to write; nil when it was written a moment ago.
    mutating func admit(_ text: String, at now: Tick) -> String? {
        if let place = self.recent.firstIndex(where: { $0.text == text }) {
            if now.since(self.recent[place].at) < Self.pause {
                self.recent[place].repeats += 1
                return nil
            }
            let repeats = self.recent[place].repeats
            self.recent[place] = (text, now, 0)
            return repeats == 0 ? text : "\(text) (\(repeats) times more since the last line)"
        }
        if self.recent.count >= 64 { self.recent.removeFirst() }
        self.recent.append((text, now, 0))
        return text
    }
}
