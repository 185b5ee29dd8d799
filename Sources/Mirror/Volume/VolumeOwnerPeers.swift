import Basis

extension Volume.Owner {
    func index(of peer: NodeID) -> Int? { self.peers.firstIndex { $0.node == peer } }

    mutating func linkUp(
        _ peer: NodeID, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard let index = self.index(of: peer) else { return }
        // The connection before is gone, whether or not anybody said so.
        if !self.mayAnswer(at: now, ledger) { self.linkDown(peer, at: now, &ledger, &effects) }
        self.peers[index].isGreetingHeld = true
        self.greet(at: now, &ledger, &effects)
    }

    /// Begins with those that are linked, once the lease holds. Without one this owner may be of an earlier moment, and not
    /// know it: what it would make the other copy equal to lacks writes. (Rule V24)
    mutating func greet(at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects) {
        guard self.mayAnswer(at: now, ledger) else { return }
        for index in self.peers.indices where self.peers[index].isGreetingHeld {
            self.greet(index, at: now, &ledger, &effects)
        }
    }

    private mutating func greet(
        _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        let peer = self.peers[index].node
        self.peers[index].isGreetingHeld = false
        self.peers[index].beginSession(self.nextSession(), at: now)
        // The question whether it noted the turn may have been lost with the link before: the next pass asks again. (Rule V19)
        self.clearing.noting = nil
        self.clearing.settled.removeAll()
        effects.send(
            .hello(
                owner: ledger.identity, sizeBytes: ledger.configuration.sizeBytes, word: ledger.word(to: peer)),
            to: peer, epoch: self.epoch, session: self.peers[index].session)
    }

    mutating func linkDown(
        _ peer: NodeID, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard let index = self.index(of: peer) else { return }
        self.peers[index].isGreetingHeld = false
        guard self.peers[index].phase != .down else { return }
        self.peers[index].phase = .down
        self.peers[index].changed(at: now)
        self.peers[index].resync = Volume.Resync()
        self.stopWaitingUnlessAsked(index, at: now, &ledger, &effects)
    }

    /// A replica outside the set that the log was not asked to admit cannot be promoted: nobody need wait for it.
    private mutating func stopWaitingUnlessAsked(
        _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard !self.peers[index].inSet, self.peers[index].joinAsked == nil else { return }
        self.peers[index].isLetGo()
        self.answerComplete(at: now, &ledger, &effects)
    }

    /// The log's word. Waiting stops only here, or where no `joins` can be under way: one that names an earlier version
    /// is refused. (Rules V3, V4)
    mutating func inSyncChanged(
        _ inSync: [NodeID], version: UInt64, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard version >= self.version else { return }
        let isNews = version > self.version || inSync.sorted() != ledger.metadata.inSync
        self.version = version
        if isNews {
            ledger.note(inSync: inSync, version: version)
            ledger.persist(into: &effects)
        }
        for index in self.peers.indices {
            if inSync.contains(self.peers[index].node) {
                // Rule V23: an earlier owner asked for it, and nobody is served before it is equal.
                if self.reconciliation?.refusal != nil { self.peers[index].beginWaiting() }
                self.peers[index].joined()
            } else if self.peers[index].inSet {
                self.peers[index].isLetGo()
                self.peers[index].setBack(at: now)
                if self.peers[index].getsFlushes { self.peers[index].phase = .copying }
            } else if let asked = self.peers[index].joinAsked, asked < version {
                self.peers[index].questionEnded()
                if self.peers[index].phase != .current || self.peers[index].isLost(at: now, ledger.configuration.tuning)
                {
                    self.peers[index].isLetGo()
                    if self.peers[index].getsFlushes { self.peers[index].phase = .copying }
                    self.peers[index].setBack(at: now)
                } else if self.peers[index].isComplete {
                    self.askToJoin(index, at: now, ledger.configuration.tuning, &effects, isNew: true)
                }
            }
        }
        self.answerComplete(at: now, &ledger, &effects)
        self.letGo(at: now, &ledger, &effects)
        if isNews, self.clearing.settled.isEmpty { self.clearMarks(all: false, &ledger, &effects) }
    }

    // MARK: Frames

    mutating func receive(
        _ frame: Frame, from node: NodeID, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        if case .fenced(let epoch) = frame.body { return self.fenced(by: epoch, &effects) }
        guard let index = self.index(of: node), frame.epoch == self.epoch,
            frame.session == self.peers[index].session, self.peers[index].phase != .down
        else { return }
        self.peers[index].link.lastHeard = now
        switch frame.body {
        case .welcome(let welcome):
            guard self.peers[index].phase == .greeting else { return }
            self.welcome(welcome, index, at: now, &ledger, &effects)
        case .received(let sequence): self.received(sequence, index, at: now, &ledger, &effects)
        case .stable(let sequence): self.stable(sequence, index, at: now, &ledger, &effects)
        case .sums(let chunk): self.sums(chunk, index, &ledger, &effects)
        case .noted(let turn):
            self.noted(turn, index, at: now, &ledger, &effects)
        case .wantsResync:
            if self.letOverwrite(index, &effects) { return }
            self.peers[index].resync.restart(all: ledger)
            self.pumpResync(index, at: now, &ledger, &effects)
        case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .note, .ping, .fenced, .pong: break
        }
    }

    private mutating func welcome(
        _ welcome: Frame.Welcome, _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        let replica = ReplicaIdentity(node: self.peers[index].node, identity: welcome.identity)
        // Rule V19: it has noted every turn whose marks are gone here, or it is an older copy of itself.
        let isOlder = welcome.notedTurn < ledger.metadata.clearedTurn
        let isAhead = welcome.trusted && welcome.clearedTurn > ledger.metadata.notedTurn
        if isAhead, self.peers[index].overwriting != .allowed { return self.foundOutdated(index, &effects) }
        let isKnown =
            welcome.trusted && !isOlder && !isAhead && ledger.metadata.covered.contains(replica)
            && welcome.covered.contains(ledger.identity)
            && welcome.regionBytes == ledger.regionBytes && welcome.marks.regions == ledger.metadata.marks.regions
        var pending = DirtyMap(regions: ledger.metadata.marks.regions, all: !isKnown)
        if isKnown {
            // Rule V7: what either side may have and the other not.
            pending.formUnion(ledger.metadata.marks)
            pending.formUnion(welcome.marks)
        }
        if !isKnown {
            self.peers[index].received = 0
            self.peers[index].stable = 0
        } else if self.peers[index].copy.instance != welcome.instance {
            // Rule V6: what another instance acknowledged and had not made stable may be gone.
            self.peers[index].received = self.peers[index].stable
        }
        self.peers[index].copy.instance = welcome.instance
        self.peers[index].copy.identity = welcome.identity
        self.peers[index].copy.isKnown = isKnown
        self.peers[index].phase = .copying
        self.peers[index].resync.begin(pending, ledger, trusts: welcome.trusted)
        self.pumpResync(index, at: now, &ledger, &effects)
    }

    private mutating func received(
        _ sequence: UInt64, _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard sequence > self.peers[index].link.received else { return }
        self.peers[index].link.received = sequence
        self.peers[index].acknowledged(at: now)
        if self.peers[index].resync.isRunning {
            self.peers[index].resync.received(sequence)
            self.pumpResync(index, at: now, &ledger, &effects)
        }
        guard self.peers[index].phase == .current else { return }
        self.peers[index].received = max(self.peers[index].received, sequence)
        self.answerComplete(at: now, &ledger, &effects)
    }

    private mutating func stable(
        _ sequence: UInt64, _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        self.peers[index].flushed(at: now)
        switch self.peers[index].phase {
        case .settling(let target) where sequence >= target:
            self.confirm(index, at: now, &ledger, &effects)
        case .confirming(let target) where sequence >= target:
            self.peers[index].phase = .current
            self.peers[index].changed(at: now)
            self.accept(stable: sequence, index)
            self.peers[index].copy.isKnown = true
            // Marks and copies agree from here on; both sides say so in their metadata.
            ledger.cover(ReplicaIdentity(node: self.peers[index].node, identity: self.peers[index].copy.identity))
            ledger.persist(into: &effects)
            self.clearing.limit = 0
            self.adopt(index, ledger, &effects)
            // Client flushes that came while it was confirming.
            if self.peers[index].link.flushSent < self.lastSequence, self.isBusy {
                self.sendFlush(to: index, at: now, &effects)
            }
            self.answerComplete(at: now, &ledger, &effects)
        case .current:
            self.accept(stable: sequence, index)
            self.answerComplete(at: now, &ledger, &effects)
        case .down, .greeting, .copying, .settling, .confirming: break
        }
    }

    /// The copy is equal: it may be trusted, as of the turn that this one has noted. It joins once it has that on disk, or both
    /// could lose power and the log's set would name a copy that does not know what it is. (Rule V19)
    private mutating func adopt(_ index: Int, _ ledger: Ledger, _ effects: inout Volume.Effects) {
        self.peers[index].link.turnAsked = ledger.durableTurn
        let turn = ledger.durableTurn
        for body in [Frame.Body.clear(sequence: 0, covered: [ledger.identity], turn: turn), .note(turn: turn)] {
            effects.send(body, to: self.peers[index].node, epoch: self.epoch, session: self.peers[index].session)
        }
    }

    private mutating func noted(
        _ turn: UInt64, _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        self.peers[index].link.notedTurn = max(self.peers[index].link.notedTurn, turn)
        if let asked = self.peers[index].link.turnAsked, turn >= asked {
            self.peers[index].link.turnAsked = nil
            if self.peers[index].phase == .current, !self.peers[index].inSet, self.reconciliation == nil {
                self.askToJoin(index, at: now, ledger.configuration.tuning, &effects, isNew: true)
            }
        }
        self.finishNoting(&ledger, &effects)
    }

    private mutating func accept(stable sequence: UInt64, _ index: Int) {
        self.peers[index].stable = max(self.peers[index].stable, sequence)
        self.peers[index].received = max(
            self.peers[index].received, sequence, self.peers[index].link.received)
    }

    // MARK: Joining and leaving

    /// All chunks are equal or received: make them stable, then wait for the replica, then be sure of the rest.
    mutating func finishResync(
        _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard self.peers[index].phase == .copying, !self.peers[index].resync.isRunning else { return }
        guard self.peers[index].inSet || now >= self.peers[index].mayConfirmAt else { return }
        // Rule V5: the whole copy is synced, blocks skipped as equal included.
        self.peers[index].phase = .settling(self.lastSequence)
        self.sendFlush(to: index, at: now, &effects)
    }

    private mutating func confirm(
        _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        // Rule V3: waited for first. Every request answered from here on is on the replica; the flush brings the rest.
        self.peers[index].beginWaiting()
        self.peers[index].changed(at: now)
        self.peers[index].phase = .confirming(self.lastSequence)
        self.sendFlush(to: index, at: now, &effects)
    }

    private mutating func askToJoin(
        _ index: Int, at now: Tick, _ tuning: Volume.Tuning, _ effects: inout Volume.Effects, isNew: Bool
    ) {
        guard isNew || now.since(self.peers[index].lastAsked) >= tuning.repeatInterval else { return }
        self.peers[index].asked(version: self.version)
        self.peers[index].lastAsked = now
        effects.event(
            .wantsJoin(
                epoch: self.epoch, version: self.version, replica: self.peers[index].node,
                copy: self.peers[index].copy.identity))
    }

    mutating func tick(
        peer index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        let tuning = ledger.configuration.tuning
        let node = self.peers[index].node
        if self.peers[index].phase != .down, now.since(self.peers[index].lastPing) >= tuning.pingInterval {
            self.peers[index].lastPing = now
            effects.send(
                .ping(ledger.word(to: node)), to: node, epoch: self.epoch, session: self.peers[index].session)
        }
        if self.peers[index].phase != .down, now.since(self.peers[index].link.lastHeard) >= tuning.silencePatience * 4 {
            effects.append(.hangUp(node, .outbound))
        }
        self.peers[index].resync.refill(at: now, tuning)
        self.pumpResync(index, at: now, &ledger, &effects)
        let isLost = self.peers[index].isLost(at: now, tuning)
        if self.peers[index].isWaitedFor, isLost {
            if self.peers[index].inSet || self.peers[index].joinAsked != nil {
                guard now.since(self.peers[index].lastAsked) >= tuning.repeatInterval else { return }
                self.peers[index].lastAsked = now
                effects.event(.wantsLeave(epoch: self.epoch, version: self.version, replica: node))
            } else {
                // One that has not answered `hello` yet goes on from there.
                if self.peers[index].getsWrites { self.peers[index].phase = .copying }
                self.peers[index].setBack(at: now)
                self.stopWaitingUnlessAsked(index, at: now, &ledger, &effects)
            }
        } else if self.peers[index].isComplete, !self.peers[index].inSet, self.reconciliation == nil {
            self.askToJoin(index, at: now, tuning, &effects, isNew: false)
        }
        if self.peers[index].inSet, self.peers[index].phase == .current,
            now.since(self.peers[index].since) >= .seconds(60)
        {
            self.peers[index].setbacks = 0
        }
    }
}
