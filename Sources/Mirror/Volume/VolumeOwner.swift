import Basis

extension Volume {
    /// The owner's part: orders client writes, sends them, and answers when the waiting set has them.
    struct Owner: Sendable {
        /// A client's write.
        struct Request: Sendable {
            var id: UInt64
            var extent: Extent
            var kind: WriteKind
            var durable: Bool
        }
        /// A request that waits for `sequence`.
        struct Waiting: Sendable {
            var id: UInt64
            var sequence: UInt64
        }
        /// Marks on their way to be forgotten. (Rules V6, V19)
        struct Clearing: Sendable {
            /// Up to which write all was stable everywhere, at each pass since all copies are equal.
            var settled: [(at: Tick, sequence: UInt64)] = []
            /// A turn of marks that every copy is asked to note, and up to which write its marks are cleared then. (Rule V19)
            var noting: (turn: UInt64, limit: UInt64)?
            /// Up to here marks were cleared; 0 asks for another turn.
            var limit: UInt64 = 0
            /// When the clearing before the end began.
            var since: Tick?
            /// When the last pass was, and the last write then.
            var lastPass = Tick.zero
            var sequenceAtPass: UInt64 = 1
        }
        struct ChunkRead: Sendable {
            var chunk: Extent
            var ticket: UInt64
            var differing: UInt64
        }

        let epoch: Epoch
        let incarnation: Incarnation
        var version: UInt64
        var peers: [Peer]
        var isFrozen = false
        private(set) var supersededBy: Epoch?
        /// Clients are not served yet. (Rule V7)
        var reconciliation: Reconciliation?

        /// Sequence 1 stands for what the copy held at the opening: a replica has nothing before it was compared once.
        var lastSequence: UInt64 = 1
        /// Written, and stable, on this node.
        private(set) var written: UInt64 = 1
        private(set) var issued: UInt64 = 1
        private(set) var stable: UInt64 = 1
        private var writes = Ring<Waiting>()
        private var flushes = Ring<Waiting>()
        /// Writes whose regions' marks are not on disk yet.
        private var held: [Request] = []

        private var syncing: (token: UInt64, covers: UInt64)?
        private var syncTarget: UInt64 = 1
        private var closeTarget: UInt64?
        private var lastSession: UInt32 = 0
        var clearing = Clearing()
        /// Why this copy must not be served: another one is ahead of it. (Rule V19)
        var outdated: String?

        init(_ opening: Opening, _ ledger: Ledger, at now: Tick) {
            self.epoch = opening.epoch
            self.incarnation = opening.incarnation
            self.version = opening.version
            self.peers = ledger.configuration.peers.map { Peer(node: $0, inSet: opening.inSync.contains($0)) }
            let awaited = self.peers.filter { !$0.inSet && opening.reconciling.contains($0.node) }.map(\.node)
            let refusal = opening.isRepeated ? Reconciliation.Refusal(version: opening.version) : nil
            guard !awaited.isEmpty || self.peers.contains(where: \.inSet) || refusal != nil else { return }
            self.reconciliation = Reconciliation(awaited: awaited, began: now, refusal: refusal)
        }

        var isClosing: Bool { self.closeTarget != nil }
        var isBusy: Bool { !self.writes.isEmpty || !self.flushes.isEmpty }

        // MARK: Clients

        /// Nothing is answered at or after the lease's end, under another incarnation's lease, while frozen, or after
        /// another owner was seen. (Rules L12, L15)
        func mayAnswer(at now: Tick, _ ledger: Ledger) -> Bool {
            !self.isFrozen && self.supersededBy == nil && now < ledger.leaseEnd
                && ledger.leaseIncarnation == self.incarnation
        }

        mutating func begin(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            ledger.forgetTouched()
            for index in self.peers.indices {
                self.peers[index].changed(at: now)
                self.peers[index].lastAsked = now
            }
        }

        mutating func write(_ request: Request, at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard !self.isClosing, ledger.contains(request.extent) else {
                return effects.append(.reply(id: request.id, .failed))
            }
            // A mark is on disk before the first write to its region. (Rule V7)
            guard ledger.isSafe(request.extent) else {
                self.held.append(request)
                return ledger.mark(request.extent, into: &effects)
            }
            self.issue(request, at: now, &ledger, &effects)
        }

        mutating func flush(_ id: UInt64, at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard !self.isClosing else { return effects.append(.reply(id: id, .failed)) }
            self.flushes.append(Waiting(id: id, sequence: self.lastSequence))
            self.makeStable(at: now, &ledger, &effects)
            self.answerComplete(at: now, &ledger, &effects)
        }

        mutating func issueHeld(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard !self.held.isEmpty else { return }
            var rest: [Request] = []
            for request in self.held {
                if ledger.isSafe(request.extent) {
                    self.issue(request, at: now, &ledger, &effects)
                } else {
                    rest.append(request)
                    ledger.mark(request.extent, into: &effects)
                }
            }
            self.held = rest
        }

        /// The local write and the frames leave in one step: every copy sees one order.
        private mutating func issue(
            _ request: Request, at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects
        ) {
            self.lastSequence += 1
            let sequence = self.lastSequence
            self.issued = sequence
            ledger.touch(request.extent, sequence: sequence)
            ledger.writtenBytes += request.extent.length
            effects.append(
                .writeLocal(id: request.id, sequence: sequence, extent: request.extent, kind: request.kind))
            for index in self.peers.indices where self.peers[index].getsWrites {
                self.peers[index].owes(sequence, at: now)
                let session = self.peers[index].session
                switch request.kind {
                case .data:
                    effects.send(
                        .write(sequence: sequence, extent: request.extent), to: self.peers[index].node,
                        epoch: self.epoch, session: session, payload: .request(request.id))
                case .zero(let zeroing):
                    effects.send(
                        .zero(sequence: sequence, extent: request.extent, zeroing: zeroing),
                        to: self.peers[index].node, epoch: self.epoch, session: session)
                }
            }
            if request.durable {
                self.flushes.append(Waiting(id: request.id, sequence: sequence))
                self.makeStable(at: now, &ledger, &effects)
            } else {
                self.writes.append(Waiting(id: request.id, sequence: sequence))
            }
        }

        // MARK: Stability

        /// Starts whatever syncs and flushes the oldest unanswered flush needs; those under way gather followers.
        mutating func makeStable(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            self.syncTarget = self.lastSequence
            self.syncLocal(&ledger, &effects)
            for index in self.peers.indices where self.peers[index].getsFlushes {
                guard self.peers[index].link.flushSent < self.lastSequence else { continue }
                self.sendFlush(to: index, at: now, &effects)
            }
        }

        mutating func sendFlush(to index: Int, at now: Tick, _ effects: inout Effects) {
            self.peers[index].owesFlush(self.lastSequence, at: now)
            effects.send(
                .flush(sequence: self.lastSequence), to: self.peers[index].node, epoch: self.epoch,
                session: self.peers[index].session)
        }

        private mutating func syncLocal(_ ledger: inout Ledger, _ effects: inout Effects) {
            guard self.syncing == nil, self.stable < self.syncTarget else { return }
            let token = ledger.nextSync()
            self.syncing = (token, self.lastSequence)
            effects.append(.syncLocal(token: token))
        }

        mutating func localWritten(
            _ sequence: UInt64, at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects
        ) {
            self.written = max(self.written, sequence)
            self.answerComplete(at: now, &ledger, &effects)
        }

        mutating func localSynced(_ token: UInt64, at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard let syncing = self.syncing, syncing.token == token else { return }
            self.syncing = nil
            self.stable = max(self.stable, syncing.covers)
            self.syncLocal(&ledger, &effects)
            self.answerComplete(at: now, &ledger, &effects)
        }

        /// Answers what the waiting set has: a write that all received, a flush that is stable on all. (Rule V3)
        mutating func answerComplete(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard self.mayAnswer(at: now, ledger) else { return }
            var received = self.written
            var stable = self.stable
            for index in self.peers.indices where self.peers[index].isWaitedFor {
                received = min(received, self.peers[index].received)
                stable = min(stable, self.peers[index].stable)
            }
            while let head = self.writes.first, head.sequence <= received {
                self.writes.removeFirst()
                effects.append(.reply(id: head.id, .done))
            }
            while let head = self.flushes.first, head.sequence <= stable {
                self.flushes.removeFirst()
                effects.append(.reply(id: head.id, .done))
            }
        }

        // MARK: The end

        mutating func beginClose(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            for request in self.held { effects.append(.reply(id: request.id, .failed)) }
            self.held = []
            self.reconciliation = nil
            self.closeTarget = self.lastSequence
            self.makeStable(at: now, &ledger, &effects)
        }

        /// Stable on every replica that the log may promote.
        var isClosed: Bool {
            guard let target = self.closeTarget, self.supersededBy == nil else { return false }
            return self.stable >= target && !self.peers.contains { $0.isWaitedFor && $0.stable < target }
        }

        mutating func failAll(_ effects: inout Effects) {
            while let head = self.writes.first {
                self.writes.removeFirst()
                effects.append(.reply(id: head.id, .failed))
            }
            while let head = self.flushes.first {
                self.flushes.removeFirst()
                effects.append(.reply(id: head.id, .failed))
            }
            for request in self.held { effects.append(.reply(id: request.id, .failed)) }
            self.held = []
        }

        mutating func fenced(by epoch: Epoch, _ effects: inout Effects) {
            guard epoch > self.epoch, self.supersededBy == nil else { return }
            self.supersededBy = epoch
            effects.event(
                .failed(
                    reason:
                        "a replica has accepted epoch \(epoch), this node still had \(self.epoch): another node owns "
                        + "the volume now; no client is answered here any more"))
        }

        // MARK: Marks

        /// All copies are equal but for what is under way.
        private var areAllCurrent: Bool {
            self.peers.allSatisfy { $0.inSet && $0.phase == .current && !$0.resync.isRunning }
        }

        /// Begins to clear marks that are stable on every replica for a while. With `all`, without the while. (Rule V6)
        ///
        /// When all copies have just become equal, there is no while either: what was written without one of them is
        /// known to that one by the turn alone, should this copy be put back. (Rule V19)
        mutating func clearMarks(all: Bool, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard self.areAllCurrent else {
                self.clearing.settled.removeAll()
                return self.clearing.noting = nil
            }
            let everywhere = self.peers.reduce(self.stable) { min($0, $1.stable) }
            let retention = ledger.configuration.tuning.markRetention
            var limit = everywhere
            let isFirst = self.clearing.settled.isEmpty
            if !all { self.clearing.settled.append((self.clearing.lastPass, everywhere)) }
            if !all, !isFirst {
                guard
                    let old = self.clearing.settled.lastIndex(where: {
                        self.clearing.lastPass.since($0.at) >= retention
                    })
                else {
                    return
                }
                limit = self.clearing.settled[old].sequence
                self.clearing.settled.removeFirst(old)
            }
            guard self.clearing.noting == nil || all, limit > self.clearing.limit else { return }
            // Rule V19: every copy notes the turn before a mark is forgotten anywhere.
            let turn = ledger.metadata.notedTurn + 1
            self.clearing.noting = (turn, limit)
            ledger.noteTurn(turn, into: &effects)
            for peer in self.peers {
                effects.send(.note(turn: turn), to: peer.node, epoch: self.epoch, session: peer.session)
            }
        }

        /// Clears the marks of a turn that every copy has noted.
        mutating func finishNoting(_ ledger: inout Ledger, _ effects: inout Effects) {
            guard let noting = self.clearing.noting, ledger.isTurnDurable, self.areAllCurrent,
                self.peers.allSatisfy({ $0.link.notedTurn >= noting.turn })
            else { return }
            self.clearing.noting = nil
            self.clearing.limit = noting.limit
            let covered =
                self.peers.map { ReplicaIdentity(node: $0.node, identity: $0.copy.identity) } + [ledger.identity]
            let isClearer = ledger.clear(upTo: noting.limit)
            ledger.noteCleared(turn: noting.turn)
            if ledger.cover(exactly: covered) || isClearer { ledger.persist(into: &effects) }
            for peer in self.peers {
                effects.send(
                    .clear(sequence: noting.limit, covered: covered, turn: noting.turn), to: peer.node,
                    epoch: self.epoch, session: peer.session)
            }
        }

        /// Clears all marks before the end, if every copy notes the turn soon; true when there is nothing to wait for.
        mutating func clearAtClose(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) -> Bool {
            guard self.areAllCurrent else { return true }
            guard let since = self.clearing.since else {
                self.clearing.since = now
                self.clearMarks(all: true, &ledger, &effects)
                return self.clearing.noting == nil
            }
            return self.clearing.noting == nil || now.since(since) >= .milliseconds(300)
        }

        mutating func tick(at now: Tick, _ ledger: inout Ledger, _ effects: inout Effects) {
            self.greet(at: now, &ledger, &effects)
            for index in self.peers.indices { self.tick(peer: index, at: now, &ledger, &effects) }
            if now.since(self.clearing.lastPass) >= .seconds(1) {
                self.clearing.lastPass = now
                self.clearMarks(all: false, &ledger, &effects)
                // An idle volume becomes stable by itself, so that its marks go away.
                if self.clearing.sequenceAtPass == self.lastSequence, !self.isBusy {
                    self.makeStable(at: now, &ledger, &effects)
                }
                self.clearing.sequenceAtPass = self.lastSequence
            }
            self.answerComplete(at: now, &ledger, &effects)
        }

        mutating func nextSession() -> UInt32 {
            self.lastSession += 1
            return self.lastSession
        }

        func peerStatus() -> [VolumeStatus.Peer] {
            self.peers.map { peer in
                VolumeStatus.Peer(
                    node: peer.node, connected: peer.phase != .down, inSync: peer.inSet,
                    resyncRemainingBytes: peer.resync.remainingBytes, resyncTotalBytes: peer.resync.totalBytes)
            }
        }
    }
}
