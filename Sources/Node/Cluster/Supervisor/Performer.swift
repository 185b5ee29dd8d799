import Basis
import Mirror
import Raft
import Resources

/// Performs what a supervisor asks for, in its order: the same in the daemon, the simulator and the tests, which differ in
/// their worlds alone.
///
/// What it decides: messages that rest on what is not durable wait in the `outbox`; nothing rests on a log that has failed;
/// nothing starts while the clocks have parted (rule L20); what could not be written of what runs here is written later.
public struct Performer: Sendable {
    /// How long facts that could not be written wait for the next try.
    @usableFromInline static let factsPause = Span.milliseconds(500)

    @usableFromInline var outbox = Outbox()
    /// What would start something, while boot clock and hardware clock have parted, oldest first. (Rule L20)
    @usableFromInline var heldBack: [SupervisorEffect] = []
    /// What could not be written yet, for want of room.
    @usableFromInline var unwrittenFacts: Facts?
    /// When it is tried again.
    @usableFromInline var factsDueAt = Tick.never
    /// The log takes no more writes.
    public private(set) var isPoisoned = false
    /// The log was kept aside: nothing more is done. (Rule E2.2)
    @usableFromInline var hasForgotten = false

    /// Nothing was performed yet.
    public init() {}

    /// Since when the log has owed an answer; nil when it owes none.
    public var logWaitsSince: Tick? { self.outbox.waitingSince }

    /// Steps the supervisor, and performs what it asks for.
    @inlinable
    public mutating func step<World: SupervisorWorld>(_ input: SupervisorInput, in world: inout World, at now: Tick) {
        var effects: [SupervisorEffect] = []
        world.step(input, into: &effects)
        self.perform(&effects, in: &world, at: now)
    }

    /// Performs all `effects`, then what follows from answers that come at once; leaves the memory of the array alone.
    @inlinable
    public mutating func perform<World: SupervisorWorld>(
        _ effects: inout [SupervisorEffect], in world: inout World, at now: Tick
    ) {
        self.outbox.begin()
        self.performAll(&effects, in: &world, at: now)
        if !self.heldBack.isEmpty, !world.isOver, !world.isInDoubt(comparing: false) {
            swap(&effects, &self.heldBack)
            self.performAll(&effects, in: &world, at: now)
        }
        if now >= self.factsDueAt, let facts = self.unwrittenFacts, !world.isOver {
            self.write(facts, in: &world, at: now)
        }
    }

    /// Everything up to this request is durable: what waited for it leaves.
    @inlinable
    public mutating func persisted<World: SupervisorWorld>(_ sequence: UInt64, in world: inout World) {
        self.outbox.persisted(sequence) { world.send($0, to: $1) }
    }

    /// The log takes no more writes: what rests on something that is not durable never leaves. (Rule L5.2) How many messages
    /// that were; nil if it was known before. The supervisor is to hear `diskFailed`.
    public mutating func logFailed() -> Int? {
        guard !self.isPoisoned else { return nil }
        self.isPoisoned = true
        return self.outbox.poison()
    }

    @inlinable
    mutating func performAll<World: SupervisorWorld>(
        _ effects: inout [SupervisorEffect], in world: inout World, at now: Tick
    ) {
        var answers: [SupervisorInput] = []
        // Taken from the end, so that nothing is copied or left over: most are messages.
        effects.turn()
        while !effects.isEmpty, !self.hasForgotten, !world.isOver {
            self.perform(effects.removeLast(), in: &world, at: now, &answers)
            if !answers.isEmpty { Self.follow(&answers, &effects, in: &world) }
        }
        effects.drop()
    }

    /// Steps the supervisor with what was answered at once; what it asks for comes after what is left.
    @inlinable
    static func follow<World: SupervisorWorld>(
        _ answers: inout [SupervisorInput], _ effects: inout [SupervisorEffect], in world: inout World
    ) {
        var more: [SupervisorEffect] = []
        for answer in answers where !world.isOver { world.step(answer, into: &more) }
        answers.removeAll(keepingCapacity: true)
        effects.insert(contentsOf: more.reversed(), at: 0)
    }

    @inlinable
    mutating func perform<World: SupervisorWorld>(
        _ effect: consuming SupervisorEffect, in world: inout World, at now: Tick, _ answers: inout [SupervisorInput]
    ) {
        switch consume effect {
        case .send(let envelope, let hop): self.outbox.send(envelope, to: hop) { world.send($0, to: $1) }
        case .persist(let request): self.persist(request, in: &world, at: now, &answers)
        case .snapshot(let order): world.keep(order, &answers)
        case .barrier: self.outbox.barrier()
        case .forget(let reason):
            self.forget()
            world.forget(reason)
        case .generation(let record):
            if world.write(record) { answers.append(.generationWritten(record)) }
        case .lease(let end, let incarnation, let grace, let sentAt):
            world.publish(end: end, incarnation, grace: grace, sentAt: sentAt)
        case .facts(let facts): self.write(facts, in: &world, at: now)
        case .call(let call):
            // Rule L20: the clocks are compared before each start.
            if call.action == .start, world.isInDoubt(comparing: true) { return self.heldBack.append(.call(call)) }
            world.call(call, &answers)
        case .cancel(let id):
            if !self.heldBack.isEmpty { self.dropHeldBack { $0.isCall { $0.id == id } } }
            world.cancel(id)
        case .killGroup(let group):
            if !self.heldBack.isEmpty { self.dropHeldBack { $0.isCall { $0.group == group } } }
            world.kill(group, &answers)
        case .forgetStarted(let group): world.forgetStarted(group)
        case .volume(let name, let command):
            if !self.heldBack.isEmpty { self.dropHeldBack { $0.isCommand(to: name) { command.supersedes($0) } } }
            // Rule L20: nor is anything exported in doubt.
            if command.letsClientsIn, world.isInDoubt(comparing: true) {
                return self.heldBack.append(.volume(name, command))
            }
            world.tell(name, command, &answers)
        case .cutVolume(let name): world.cut(name)
        case .volumeServers(let specs): world.keep(specs, &answers)
        case .renew(let role): world.renew(role)
        case .peers(let roll): world.keep(roll)
        case .reply(let id, let reply): world.reply(id, reply)
        case .note(let note): world.note(note)
        case .inspect(let id, let asker, let questions): world.inspect(id, for: asker, questions, &answers)
        }
    }

    @inlinable
    mutating func persist<World: SupervisorWorld>(
        _ request: PersistRequest, in world: inout World, at now: Tick, _ answers: inout [SupervisorInput]
    ) {
        self.outbox.persist(request.sequence, at: now)
        if self.isPoisoned { return }
        switch world.persist(request) {
        case .later: return
        case .written:
            self.persisted(request.sequence, in: &world)
            answers.append(.persisted(sequence: request.sequence))
        case .failed:
            _ = self.logFailed()
            answers.append(.diskFailed)
        }
    }

    @inlinable
    mutating func write<World: SupervisorWorld>(_ facts: Facts, in world: inout World, at now: Tick) {
        let isWritten = world.write(facts)
        self.unwrittenFacts = isWritten ? nil : facts
        self.factsDueAt = isWritten ? .never : now + Self.factsPause
    }

    @usableFromInline
    mutating func forget() {
        _ = self.logFailed()
        self.hasForgotten = true
        self.heldBack = []
        self.unwrittenFacts = nil
    }

    /// Drops what waits and is no longer wanted.
    @usableFromInline
    mutating func dropHeldBack(where isUnwanted: (SupervisorEffect) -> Bool) {
        self.heldBack.removeAll(where: isUnwanted)
    }
}

extension SupervisorEffect {
    @usableFromInline
    func isCall(_ condition: (AgentCall) -> Bool) -> Bool {
        if case .call(let call) = self { condition(call) } else { false }
    }

    @usableFromInline
    func isCommand(to volume: VolumeName, _ condition: (VolumeCommand) -> Bool) -> Bool {
        if case .volume(volume, let command) = self { condition(command) } else { false }
    }
}

extension VolumeCommand {
    /// After it clients may be answered.
    @usableFromInline var letsClientsIn: Bool {
        switch self {
        case .open, .thaw: true
        default: false
        }
    }

    /// What waits is not to be done any more once this came: it says the same anew, or the opposite. Of what was opened with
    /// an older in-sync set another `open` follows, which has the present one.
    @usableFromInline
    func supersedes(_ waiting: VolumeCommand) -> Bool {
        switch (self, waiting) {
        case (.open, .open), (.thaw, .thaw), (.inSyncChanged, .open): true
        // A volume that was frozen is to be thawed and opened again.
        case (.open, _), (.thaw, _), (.inSyncChanged, _): false
        case (.close, _), (.freeze, _), (.detach, _), (.makeCopy, _), (.takenBack, _): true
        case (.report, _), (.noted, _), (.peers, _), (.resyncAll, _), (.over, _): false
        }
    }
}
