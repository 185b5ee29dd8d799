import Basis

extension Volume {
    /// The follower's part: applies what the owner of the highest epoch sends, in order, and says so.
    struct Replica: Sendable {
        private enum Work: Sendable {
            case write(sequence: UInt64, extent: Extent, kind: WriteKind, mask: UInt64)
            case flush(sequence: UInt64)
        }
        private struct Session: Sendable {
            var owner: ReplicaIdentity
            var session: UInt32
            var epoch: Epoch
            var isWelcomed = false
        }

        private var session: Session?
        /// Not applied because a mark is not on disk yet; everything behind it waits, to keep the order.
        private var queue = Ring<Work>()
        private var issued: UInt64 = 0
        private var written: UInt64 = 0
        private var syncing: (token: UInt64, sequence: UInt64, session: UInt32)?
        private var flushWanted: UInt64?
        /// A turn of marks to answer for once it is on disk. (Rule V19)
        private var noting: UInt64?

        /// Everything given to the backing is written. (Rule V2)
        var isDrained: Bool { self.written >= self.issued }

        /// An owner turns follower: its own writes may still be on their way to the backing.
        mutating func inherit(issued: UInt64, written: UInt64) {
            self.issued = issued
            self.written = written
        }

        mutating func receive(
            _ frame: Frame, from peer: NodeID, _ ledger: inout Ledger, _ effects: inout Effects
        ) {
            if case .hello(let owner, let sizeBytes, _) = frame.body {
                return self.hello(owner, sizeBytes, frame, from: peer, &ledger, &effects)
            }
            guard let session = self.session, session.isWelcomed, session.owner.node == peer,
                session.session == frame.session, session.epoch == frame.epoch
            else { return }
            switch frame.body {
            case .write(let sequence, let extent):
                self.enqueue(
                    .write(sequence: sequence, extent: extent, kind: .data, mask: 0), extent, &ledger, &effects)
            case .zero(let sequence, let extent, let zeroing):
                let work = Work.write(sequence: sequence, extent: extent, kind: .zero(zeroing), mask: 0)
                self.enqueue(work, extent, &ledger, &effects)
            case .blocks(let sequence, let chunk, let mask):
                self.enqueue(
                    .write(sequence: sequence, extent: chunk, kind: .data, mask: mask), chunk, &ledger, &effects)
            case .flush(let sequence):
                self.queue.append(.flush(sequence: sequence))
                self.advance(&ledger, &effects)
            case .compare(let chunk):
                guard ledger.contains(chunk) else { return effects.append(.hangUp(peer, .inbound)) }
                effects.append(.digest(chunk: chunk, peer: peer, session: session.session))
            case .clear(let sequence, let covered, let turn): self.clear(sequence, covered, turn, &ledger, &effects)
            case .note(let turn):
                self.noting = turn
                ledger.noteTurn(turn, into: &effects)
            case .ping: self.answer(.pong(ledger.word(to: peer)), &effects)
            case .hello, .welcome, .received, .stable, .sums, .fenced, .pong, .wantsResync, .noted: break
            }
        }

        private mutating func hello(
            _ owner: ReplicaIdentity, _ sizeBytes: UInt64, _ frame: Frame, from peer: NodeID,
            _ ledger: inout Ledger, _ effects: inout Effects
        ) {
            guard sizeBytes == ledger.configuration.sizeBytes, owner.node == peer else {
                effects.event(
                    .failed(
                        reason:
                            "\(peer) serves \(sizeBytes) bytes, this replica has \(ledger.configuration.sizeBytes): "
                            + "make the backings equal"))
                return effects.append(.hangUp(peer, .inbound))
            }
            self.end(&effects)
            if frame.epoch > ledger.metadata.epoch {
                // Rule V1: on disk before it is used. Lower epochs are refused from this step on.
                ledger.raise(epoch: frame.epoch, incarnation: .none, into: &effects)
            }
            ledger.forgetTouched()
            self.session = Session(owner: owner, session: frame.session, epoch: frame.epoch)
            self.advance(&ledger, &effects)
        }

        private mutating func enqueue(
            _ work: Work, _ extent: Extent, _ ledger: inout Ledger, _ effects: inout Effects
        ) {
            guard ledger.contains(extent) else {
                if let session = self.session { effects.append(.hangUp(session.owner.node, .inbound)) }
                return
            }
            self.queue.append(work)
            self.advance(&ledger, &effects)
            if case .write(let sequence, _, .data, _) = work, self.queue.first != nil {
                effects.append(.holdReceived(sequence: sequence))
            }
        }

        /// Applies what may be applied, then welcomes or syncs.
        mutating func advance(_ ledger: inout Ledger, _ effects: inout Effects) {
            guard let session = self.session else { return }
            if !session.isWelcomed { return self.welcome(ledger, &effects) }
            while let work = self.queue.first {
                switch work {
                case .write(let sequence, let extent, let kind, let mask):
                    // A mark is on disk before the first write to its region. (Rule V7)
                    guard ledger.isSafe(extent) else { return ledger.mark(extent, into: &effects) }
                    ledger.touch(extent, sequence: sequence)
                    self.issued = sequence
                    effects.append(.applyReceived(sequence: sequence, extent: extent, kind: kind, mask: mask))
                case .flush(let sequence):
                    self.flushWanted = sequence
                }
                self.queue.removeFirst()
            }
            self.sync(&ledger, &effects)
        }

        /// Metadata is on disk: a turn may be answered for.
        mutating func persisted(_ ledger: inout Ledger, _ effects: inout Effects) {
            if let turn = self.noting, ledger.isTurnDurable {
                self.noting = nil
                self.answer(.noted(turn: turn), &effects)
            }
            self.advance(&ledger, &effects)
        }

        /// Rules V1, V2: the epoch is on disk, and nothing of an earlier session is on its way to the backing.
        private mutating func welcome(_ ledger: Ledger, _ effects: inout Effects) {
            guard let session = self.session, !session.isWelcomed, ledger.isEpochDurable, self.isDrained else { return }
            self.session?.isWelcomed = true
            self.issued = 0
            self.written = 0
            let metadata = ledger.metadata
            self.answer(
                .welcome(
                    Frame.Welcome(
                        identity: metadata.identity, instance: metadata.instance, regionBytes: metadata.regionBytes,
                        marks: metadata.marks, covered: metadata.covered, trusted: metadata.trusted,
                        notedTurn: metadata.notedTurn, clearedTurn: metadata.clearedTurn,
                        word: ledger.word(to: session.owner.node))), &effects)
        }

        private mutating func sync(_ ledger: inout Ledger, _ effects: inout Effects) {
            guard let sequence = self.flushWanted, self.syncing == nil, let session = self.session else { return }
            self.flushWanted = nil
            let token = ledger.nextSync()
            self.syncing = (token, sequence, session.session)
            effects.append(.syncLocal(token: token))
        }

        mutating func localWritten(_ sequence: UInt64, _ ledger: inout Ledger, _ effects: inout Effects) {
            self.written = max(self.written, sequence)
            guard let session = self.session else { return }
            guard session.isWelcomed else { return self.advance(&ledger, &effects) }
            self.answer(.received(sequence: sequence), &effects)
        }

        mutating func localSynced(_ token: UInt64, _ ledger: inout Ledger, _ effects: inout Effects) {
            guard let syncing = self.syncing, syncing.token == token else { return }
            self.syncing = nil
            if self.session?.session == syncing.session {
                self.answer(.stable(sequence: syncing.sequence), &effects)
            }
            self.sync(&ledger, &effects)
        }

        func digested(
            _ chunk: Extent, peer: NodeID, session: UInt32, _ ledger: Ledger, _ effects: inout Effects
        ) {
            guard let current = self.session, current.owner.node == peer, current.session == session else { return }
            effects.send(.sums(chunk: chunk), to: peer, epoch: current.epoch, session: session, payload: .input)
        }

        private mutating func clear(
            _ sequence: UInt64, _ covered: [ReplicaIdentity], _ turn: UInt64, _ ledger: inout Ledger,
            _ effects: inout Effects
        ) {
            if sequence == 0 {
                for replica in covered { ledger.cover(replica) }
                ledger.trust()
                ledger.adopt(turn: turn)
                ledger.persist(into: &effects)
            } else {
                let isClearer = ledger.clear(upTo: sequence)
                ledger.noteCleared(turn: turn)
                // Replicas that never were connected know each other by this alone.
                if ledger.cover(exactly: covered) || isClearer { ledger.persist(into: &effects) }
            }
        }

        func requestResync(_ ledger: Ledger, _ effects: inout Effects) { self.answer(.wantsResync, &effects) }

        private func answer(_ body: Frame.Body, _ effects: inout Effects) {
            guard let session = self.session, session.isWelcomed else { return }
            effects.send(body, to: session.owner.node, epoch: session.epoch, session: session.session)
        }

        mutating func linkDown(_ peer: NodeID, _ effects: inout Effects) {
            guard self.session?.owner.node == peer else { return }
            self.end(&effects)
        }

        /// Ends the session: what was not applied was not acknowledged either.
        mutating func end(_ effects: inout Effects) {
            guard self.session != nil else { return }
            self.session = nil
            self.queue.removeAll()
            self.flushWanted = nil
            self.syncing = nil
            self.noting = nil
            effects.append(.dropReceived)
        }
    }
}
