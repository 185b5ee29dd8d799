import Basis

/// One replica's side of a mirrored volume, without data, clock or I/O: requests are ids and extents, payloads stay
/// with the shell. (Rules V1 to V8, V17 to V20, L12, L15)
///
/// Two orders make the copies equal. The shell lets local writes take effect in the order of the effects, and a
/// connection keeps its frames in order; the core emits the local write and the frames of a request in one step. So
/// overlapping writes reach every copy in one order. A resync read is void if a write touched its chunk after the read
/// began, else its blocks are sent at the place in the stream at which they were read: a newer write always follows
/// them. A digest of the replica's block taken earlier in the stream is good enough to skip the block: bytes that no
/// write touched since were equal when it was taken, and bytes that one did touch get their last value from the stream.
public struct Volume: Sendable {
    var ledger: Ledger
    var owner: Owner?
    var opening: Opening?
    var replica = Replica()
    /// Why it cannot serve; only a restart of the server leads out.
    var failure: String?
    private var reported: VolumeStatus?
    private var lastStatus = Tick.zero

    /// A promotion under way. (Rules V1, V2)
    struct Opening: Sendable {
        enum Stage: Equatable, Sendable {
            case persisting
            case draining
            case syncing(token: UInt64)
        }
        var epoch: Epoch
        var incarnation: Incarnation
        var inSync: [NodeID]
        var version: UInt64
        /// In the set of the epoch before, and believed alive. (Rule V7)
        var reconciling: [NodeID]
        /// The copy was opened under this epoch before. (Rule V23)
        var isRepeated = false
        var stage: Stage { didSet { Stage.assertStep(from: oldValue, to: self.stage) } }

        /// The log's word; an older one is no news, for a daemon that was started anew reads its log from the start. (Rule V4)
        mutating func inSyncChanged(_ inSync: [NodeID], version: UInt64) {
            guard version >= self.version else { return }
            self.inSync = inSync
            self.version = version
        }
    }

    /// `metadata` must be `started()` and stored.
    public init(configuration: Configuration, metadata: VolumeMetadata) {
        precondition(metadata.instance > 0, "metadata must be started() and stored first")
        precondition(configuration.sizeBytes % 4096 == 0, "the size must be a multiple of 4096")
        self.ledger = Ledger(configuration: configuration, metadata: metadata)
    }

    /// What the next persist would hold.
    public var metadata: VolumeMetadata { self.ledger.metadata }

    /// Whether a client may get data or an answer at this instant. (Rule L12)
    public func mayAnswer(at now: Tick) -> Bool { self.owner?.mayAnswer(at: now, self.ledger) ?? false }

    /// The incarnation whose lease lets clients be answered; nil where none does, because this node does not own the
    /// volume, or is frozen.
    public var answeringIncarnation: Incarnation? {
        guard self.failure == nil, let isFrozen = self.owner?.isFrozen, !isFrozen, self.owner?.supersededBy == nil
        else {
            return nil
        }
        return self.owner?.incarnation
    }

    /// Whether it is the owner's copy, or is about to be.
    public var isInUse: Bool { self.owner != nil || self.opening != nil }

    /// Whether clients are served, or will be again after a thaw.
    public var isOwner: Bool { self.owner != nil }

    /// How it stands.
    public func status(at now: Tick) -> VolumeStatus {
        let role: VolumeStatus.Role =
            if self.failure != nil {
                .failed
            } else if let owner = self.owner {
                owner.mayAnswer(at: now, self.ledger) ? .owner : .frozen
            } else {
                self.ledger.metadata.trusted ? .replica : .incomplete
            }
        return VolumeStatus(
            role: role, epoch: self.ledger.metadata.epoch,
            dirtyBytes: UInt64(self.ledger.metadata.marks.count) * self.ledger.regionBytes,
            writtenBytes: self.ledger.writtenBytes, peers: self.owner?.peerStatus() ?? [])
    }

    /// Takes one input; appends what must be done.
    public mutating func step(_ input: Input, at now: Tick, into effects: inout Effects) {
        #if DEBUG
            defer { self.assertInvariants() }
        #endif
        self.ledger.clock = now
        if self.failure != nil { return self.stepFailed(input, at: now, into: &effects) }
        switch input {
        case .write(let id, let extent, let kind, let durable):
            let request = Owner.Request(id: id, extent: extent, kind: kind, durable: durable)
            guard self.owner != nil else { return effects.append(.reply(id: id, .failed)) }
            self.owner?.write(request, at: now, &self.ledger, &effects)
        case .flush(let id):
            guard self.owner != nil else { return effects.append(.reply(id: id, .failed)) }
            self.owner?.flush(id, at: now, &self.ledger, &effects)
        case .localWritten(let sequence):
            if self.owner != nil {
                self.owner?.localWritten(sequence, at: now, &self.ledger, &effects)
            } else {
                self.replica.localWritten(sequence, &self.ledger, &effects)
                self.advanceOpening(at: now, into: &effects)
            }
        case .localSynced(let token): self.localSynced(token, at: now, into: &effects)
        case .metadataSynced(let token): self.metadataSynced(token, at: now, into: &effects)
        case .frame(let peer, let frame): self.receive(frame, from: peer, at: now, into: &effects)
        case .digested(let chunk, let peer, let session):
            self.replica.digested(chunk, peer: peer, session: session, self.ledger, &effects)
        case .chunkRead(let peer, let session, let chunk, let ticket, let differing):
            let read = Owner.ChunkRead(chunk: chunk, ticket: ticket, differing: differing)
            self.owner?.chunkRead(read, peer: peer, session: session, at: now, &self.ledger, &effects)
        case .lease(let end, let incarnation):
            self.ledger.leaseEnd = end
            self.ledger.leaseIncarnation = incarnation
            self.owner?.greet(at: now, &self.ledger, &effects)
            self.owner?.answerComplete(at: now, &self.ledger, &effects)
        case .command(let command): self.perform(command, at: now, into: &effects)
        case .localFailed(let reason): self.fail(reason, into: &effects)
        case .linkUp(let peer, let direction):
            guard direction == .outbound else { return }
            self.owner?.linkUp(peer, at: now, &self.ledger, &effects)
        case .linkDown(let peer, let direction):
            switch direction {
            case .inbound: self.replica.linkDown(peer, &effects)
            case .outbound: self.owner?.linkDown(peer, at: now, &self.ledger, &effects)
            }
        case .tick: self.tick(at: now, into: &effects)
        }
        self.finishReconciliation(at: now, into: &effects)
        self.finishClose(at: now, into: &effects)
    }

    private mutating func localSynced(_ token: UInt64, at now: Tick, into effects: inout Effects) {
        if let opening = self.opening, case .syncing(token) = opening.stage {
            self.opening = nil
            let owner = Owner(opening, self.ledger, at: now)
            if owner.reconciliation == nil {
                effects.append(.startExport(opening.epoch))
                effects.event(.opened(epoch: opening.epoch))
            }
            for peer in owner.peers { effects.append(.dial(peer.node)) }
            self.owner = owner
            self.owner?.begin(at: now, &self.ledger, &effects)
            effects.event(.status(self.status(at: now)))
        } else if self.owner != nil {
            self.owner?.localSynced(token, at: now, &self.ledger, &effects)
        } else {
            self.replica.localSynced(token, &self.ledger, &effects)
        }
    }

    private mutating func metadataSynced(_ token: UInt64, at now: Tick, into effects: inout Effects) {
        self.ledger.persisted(token, into: &effects)
        self.advanceOpening(at: now, into: &effects)
        self.owner?.issueHeld(at: now, &self.ledger, &effects)
        self.owner?.finishNoting(&self.ledger, &effects)
        self.replica.persisted(&self.ledger, &effects)
    }

    /// Rule V1: the epoch is on disk first. Rule V2: what was acknowledged is applied, and made stable, before the
    /// export.
    mutating func advanceOpening(at now: Tick, into effects: inout Effects) {
        guard var opening = self.opening else { return }
        if case .persisting = opening.stage, self.ledger.isEpochDurable { opening.stage = .draining }
        if case .draining = opening.stage, self.replica.isDrained {
            let token = self.ledger.nextSync()
            opening.stage = .syncing(token: token)
            effects.append(.syncLocal(token: token))
        }
        self.opening = opening
    }

    private mutating func tick(at now: Tick, into effects: inout Effects) {
        self.owner?.tick(at: now, &self.ledger, &effects)
        if now.since(self.lastStatus) >= .seconds(1) {
            self.lastStatus = now
            let status = self.status(at: now)
            if status != self.reported {
                self.reported = status
                effects.event(.status(status))
            }
        }
    }

    private mutating func receive(_ frame: Frame, from peer: NodeID, at now: Tick, into effects: inout Effects) {
        guard self.hear(frame, from: peer, at: now, into: &effects) else { return }
        switch frame.body {
        case .welcome, .received, .stable, .sums, .fenced, .pong, .wantsResync, .noted:
            self.owner?.receive(frame, from: peer, at: now, &self.ledger, &effects)
        case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .note, .ping:
            let held = self.ledger.metadata.epoch
            // Rule V1: a lower epoch gets nothing but the news; the check and the acknowledgement are one step. An
            // owner shares its epoch with nobody.
            guard frame.epoch >= held, self.owner == nil && self.opening == nil || frame.epoch > held else {
                return effects.send(.fenced(held), to: peer, epoch: held, session: frame.session)
            }
            if case .hello = frame.body, self.owner != nil || self.opening != nil {
                self.superseded(by: frame.epoch, into: &effects)
            }
            self.replica.receive(frame, from: peer, &self.ledger, &effects)
        }
    }

    /// Another node was given the volume: what this one holds for clients fails, and it follows.
    private mutating func superseded(by epoch: Epoch, into effects: inout Effects) {
        let old = self.ledger.metadata.epoch
        self.dropOwner(into: &effects)
        effects.event(
            .failed(
                reason: "epoch \(epoch) replaced epoch \(old): another node owns the volume now; stop its users here"))
    }

    /// Stops being owner without a flush.
    mutating func dropOwner(into effects: inout Effects) {
        self.opening = nil
        guard var owner = self.owner.take() else { return }
        owner.failAll(&effects)
        effects.append(.stopExport)
        for peer in owner.peers { effects.append(.stopDialling(peer.node)) }
        self.replica.inherit(issued: owner.issued, written: owner.written)
        self.ledger.forgetTouched()
    }
}
