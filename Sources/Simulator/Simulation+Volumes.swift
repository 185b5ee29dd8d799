import Basis
import Cluster
import Mirror
import Raft
import SimulatedDisks

/// The shell of the volume core, in virtual time.
extension Simulation {
    func handleVolume(_ event: Event) {
        switch event {
        case .volumeDone(let volume, let server):
            guard let node = self.machine(of: volume, server) else { return }
            if self.postpone(node, event) { return }
            guard let (input, data) = volume.completions.take() else { return }
            let outcome = volume.completed(input, data)
            if case .localFailed(let reason) = outcome { self.note("\(node.name) \(volume.name): \(reason)") }
            self.step(volume, outcome, data: data, on: node)
        case .volumeControl(let volume, let server, let command):
            if volume.core == nil { return self.answer(command, volume, server, event) }
            guard let node = self.machine(of: volume, server) else { return }
            if self.postpone(node, event) { return }
            self.note("\(node.name) tells \(volume.name): \(command)")
            if case .makeCopy = command { return self.renewCopy(volume, on: node) }
            if case .open = command { self.reached(.opens, on: node) }
            self.step(volume, .command(command), on: node)
            switch command {
            case .report(let question): self.tellDaemon(node, volume, .copy(volume.report(answering: question)))
            case .noted: self.tellDaemon(node, volume, .copy(volume.report()))
            case .thaw, .open, .inSyncChanged:
                guard volume.isUnjudged, volume.exportEpoch != nil else { break }
                if self.isOpened(volume, on: node) || self.isUsed(volume, on: node) {
                    self.promoted(volume, on: node)
                }
            default: break
            }
            if case .report = command, let status = volume.core?.status(at: node.tick(at: self.now)) {
                self.tellDaemon(node, volume, .status(status))
            }
        case .volumeTick(let volume, let server):
            guard let node = self.machine(of: volume, server) else { return }
            if self.postpone(node, event) { return }
            self.step(volume, .tick, on: node)
            self.noteMeeting(volume, at: node.tick(at: self.now))
            self.queue.add(event, at: self.now + (volume.exportEpoch == nil ? 500_000_000 : 200_000_000))
        case .volumeEvent(let volume, let boot, let what):
            let node = self.node(volume.node)
            guard node.isOn, node.boot == boot else { return }
            self.input(node, .volume(volume.name, what), orRetry: event)
        case .startServer(let volume, let boot):
            let node = self.node(volume.node)
            guard node.isOn, node.boot == boot, volume.core == nil, volume.absence == nil, volume.isWanted else {
                return
            }
            self.startServer(volume, on: node)
        case .dial(let volume, let server, let peer):
            guard let node = self.machine(of: volume, server) else { return }
            if self.postpone(node, event) { return }
            self.dial(node, volume, peer: peer)
        case .copyMended(let volume): self.mendCopy(volume)
        case .linkFrame(let link, let toOwner): self.deliverFrame(link, toOwner: toOwner)
        case .linkClosed(let link, let toOwner): self.learnClosed(link, toOwner: toOwner)
        case .linkCheck(let link):
            if let since = link.stalledSince, self.now - since >= 1_400_000_000 { self.dropLink(link) }
        default: return
        }
    }

    /// The machine of a volume, while this very start of its server runs.
    private func machine(of volume: SimulatedVolume, _ server: UInt64) -> SimulatedNode? {
        let node = self.node(volume.node)
        return node.isOn && volume.server == server && volume.core != nil ? node : nil
    }

    private func postpone(_ node: SimulatedNode, _ event: Event) -> Bool {
        guard self.now < node.pausedUntil else { return false }
        self.queue.add(event, at: node.pausedUntil)
        return true
    }

    func tellDaemon(_ node: SimulatedNode, _ volume: SimulatedVolume, _ event: VolumeEvent) {
        self.queue.add(
            .volumeEvent(volume, boot: node.boot, event), at: self.now + 50_000 + self.random.below(200_000))
    }

    private func startServer(_ volume: SimulatedVolume, on node: SimulatedNode) {
        self.note("\(node.name) volume server of \(volume.name) starts")
        if let failure = volume.start(&self.copyRandom, believing: self.options.sabotage == "V17") {
            self.note("\(node.name) volume server of \(volume.name) ends: \(failure)")
            self.count("servers that could not open their copy")
            return self.queue.add(.startServer(volume, boot: node.boot), at: self.now + 1_000_000_000)
        }
        if volume.core != nil {
            self.step(volume, .lease(end: node.usableEnd, incarnation: node.leaseIncarnation), on: node)
            self.queue.add(.volumeTick(volume, server: volume.server), at: self.now + 200_000_000)
        } else {
            self.note("\(node.name) has no copy of \(volume.name): \(volume.report().finding)")
            self.count("servers without a copy")
        }
        self.step(node, .volumeConnected(volume.name))
    }

    /// What a server says that found no copy.
    private func answer(_ command: VolumeCommand, _ volume: SimulatedVolume, _ server: UInt64, _ event: Event) {
        let node = self.node(volume.node)
        guard node.isOn, volume.server == server, let absence = volume.absence else { return }
        if self.postpone(node, event) { return }
        guard case .none(let reason, let mayMake) = absence else { return }
        switch command {
        case .report(let question):
            self.tellDaemon(node, volume, .copy(volume.report(answering: question)))
            self.tellDaemon(node, volume, .status(VolumeStatus(role: .failed, epoch: .none, dirtyBytes: 0)))
        case .open: self.tellDaemon(node, volume, .failed(reason: reason))
        case .close(let epoch): self.tellDaemon(node, volume, .closed(epoch: epoch))
        case .makeCopy where mayMake:
            self.note("\(node.name) makes a new copy of \(volume.name)")
            if let failure = volume.renew(&self.copyRandom) {
                return self.note("\(node.name) cannot make a copy of \(volume.name): \(failure)")
            }
            self.count("copies made anew")
            self.lookAgain(volume, on: node)
        default: return
        }
    }

    /// Rule V20: a copy that the log does not know gets a new identity, unless it is in use.
    private func renewCopy(_ volume: SimulatedVolume, on node: SimulatedNode) {
        guard volume.core?.isInUse == false else { return }
        self.note("\(node.name) gives its copy of \(volume.name) a new identity")
        self.count("copies renewed")
        self.stopServer(volume, on: node)
        if let failure = volume.renew(&self.copyRandom) {
            self.note("\(node.name) cannot renew its copy of \(volume.name): \(failure)")
        }
    }

    /// A server without a copy finds that there may be one now.
    func lookAgain(_ volume: SimulatedVolume, on node: SimulatedNode) {
        volume.absence = nil
        self.step(node, .volumeDisconnected(volume.name))
        self.startServer(volume, on: node)
    }

    func stopServer(_ volume: SimulatedVolume, on node: SimulatedNode) {
        guard volume.core != nil else { return }
        self.note("\(node.name) volume server of \(volume.name) is killed")
        self.count("volume server kills")
        self.workloads[volume.number].exportEnded(node.id)
        volume.stop()
        self.dropLinks(of: node.id, volume.name)
        self.step(node, .volumeDisconnected(volume.name))
        self.step(node, .volumeEnded(volume.name, reason: "its server was killed"))
        self.queue.add(.startServer(volume, boot: node.boot), at: self.now + 200_000_000)
    }

    func step(_ volume: SimulatedVolume, _ input: Volume.Input, data: [UInt64] = [], on node: SimulatedNode) {
        guard volume.core != nil else { return }
        // The buffer is lent out, so that a nested step gets one of its own.
        var effects = self.volumeEffects ?? Volume.Effects()
        self.volumeEffects = nil
        let ends = volume.ends
        volume.core?.step(input, at: node.tick(at: self.now), into: &effects)
        effects.takeAll { effect in
            self.perform(effect, of: volume, data: data, on: node)
            return volume.ends == ends
        }
        self.volumeEffects = effects
    }

    private func later(
        _ volume: SimulatedVolume, _ node: SimulatedNode, _ input: Volume.Input, data: [UInt64] = []
    ) {
        // One device: completions come in the order of their requests.
        volume.busyUntil = max(volume.busyUntil, self.now + self.random.below(1_500_000))
        volume.completions.add((input, data))
        self.queue.add(.volumeDone(volume, server: volume.server), at: volume.busyUntil)
    }

    private func perform(
        _ effect: Volume.Effect, of volume: SimulatedVolume, data: [UInt64], on node: SimulatedNode
    ) {
        switch effect {
        case .writeLocal(let id, let sequence, let extent, let kind):
            self.store(volume, extent, kind, volume.requests[id] ?? [])
            self.later(volume, node, .localWritten(sequence: sequence))
        case .applyReceived(let sequence, let extent, let kind, let mask):
            self.apply(volume, sequence, extent, kind, mask, data)
            self.later(volume, node, .localWritten(sequence: sequence))
        case .holdReceived(let sequence): volume.received.put(data, at: sequence)
        case .dropReceived: volume.received.removeAll()
        case .syncLocal(let token):
            // Conservative: what is written before this effect is stable only once its completion is known.
            self.later(volume, node, .localSynced(token: token), data: volume.copy.content.current)
        case .persist(let metadata, let token):
            volume.pendingMetadata.append((token, metadata))
            self.later(volume, node, .metadataSynced(token: token))
        case .send(let to, let frame, let payload):
            let content: [UInt64]
            switch payload {
            case .none: content = []
            case .request(let id): content = volume.requests[id] ?? []
            case .input: content = data
            }
            self.transmit(frame, data: content, from: node.id, to: to, volume.name)
        case .digest(let chunk, let peer, let session):
            let sums = Array(volume.copy.content.current[SimulatedVolume.range(of: chunk)])
            self.later(volume, node, .digested(chunk: chunk, peer: peer, session: session), data: sums)
        case .readChunk(let peer, let session, let chunk, let ticket, let exclusive):
            self.readChunk(volume, peer, session, chunk, ticket, exclusive, sums: data, on: node)
        case .reply(let id, let reply):
            volume.requests.take(id)
            // Who was just taken back cannot know that its word is worth nothing. (Rule E4)
            let isWorthless = node.wasTakenBack && self.now < node.excusedUntil
            let promises = self.workloads[volume.number].replied(id, reply == .done && !isWorthless)
            self.checkFlushed(promises, of: volume)
        case .event(let event):
            if case .wantsOpen = event {
                self.count("reconciled promotions")
                // What it holds is what the others have been made equal to. It decides nothing about the writes that nobody
                // answered before it serves: until the log has its word, the copies of the set before are as good. (Rule V7.1)
                self.promoted(volume, on: node, serves: false)
            }
            self.tellDaemon(node, volume, event)
        case .startExport(let epoch): self.beginExport(of: volume, epoch, on: node)
        case .stopExport:
            volume.exportEpoch = nil
            self.workloads[volume.number].exportEnded(node.id)
        case .dial(let peer):
            volume.dialling.insert(peer)
            self.queue.add(
                .dial(volume, server: volume.server, peer: peer),
                at: self.now + self.network.delay(&self.random))
        case .stopDialling(let peer):
            volume.dialling.remove(peer)
            if let link = self.links.find(owner: node.id, replica: peer, volume.name) { self.dropLink(link) }
        case .hangUp(let peer, let direction):
            let link =
                direction == .outbound
                ? self.links.find(owner: node.id, replica: peer, volume.name)
                : self.links.find(owner: peer, replica: node.id, volume.name)
            if let link { self.dropLink(link) }
        }
    }

    private func beginExport(of volume: SimulatedVolume, _ epoch: Epoch, on node: SimulatedNode) {
        self.note("\(node.name) exports \(volume.name) under \(epoch)")
        volume.exportEpoch = epoch
        self.reached(.exports, on: node)
        self.count("promotions")
        // Until the log knows that the volume was opened, or something stands on it, the copies of the set before are as
        // good. (Rule V7.1)
        volume.isUnjudged = !self.isOpened(volume, on: node) && !self.isUsed(volume, on: node)
        if !volume.isUnjudged { self.promoted(volume, on: node) }
    }

    /// The log as this node knows it says that the volume was opened: the copies of the set before count no more. A copy
    /// that joins changes the set too, and says nothing of that.
    private func isOpened(_ volume: SimulatedVolume, on node: SimulatedNode) -> Bool {
        guard let record = node.daemon?.supervisor.state.volume(volume.name) else { return false }
        return record.owner == node.id && record.epoch == volume.exportEpoch && record.former.isEmpty
    }

    /// Something of the group may look at the volume.
    private func isUsed(_ volume: SimulatedVolume, on node: SimulatedNode) -> Bool {
        node.processes[volume.group]?.isEmpty == false
    }

    func promoted(_ volume: SimulatedVolume, on node: SimulatedNode, serves: Bool = true) {
        // Without a lease it answers nobody: it is judged once it is let go on. In doubt it answers nobody either, but what it
        // holds is what the others are made equal to. (Rules L12, L15, L20)
        // Of a machine that was taken back nobody is made equal to what it holds: its connections were gone. (Rule E4.2)
        volume.isUnjudged =
            node.tick(at: self.now) >= node.leaseEnd || node.wasTakenBack && node.isInDoubt
        if volume.isUnjudged { return }
        // Just resumed from a pause that it cannot know of: for one look it shows what it had, and no write of it is answered,
        // for the next owner has its copy. (Rules V1, L18, L20)
        let mine = volume.core?.metadata.epoch ?? .none
        let isTakenOver = self.nodes.contains { other in
            other.id != node.id && other.volumes.contains { $0.name == volume.name && $0.exportEpoch ?? .none > mine }
        }
        // Who was just taken back has its own earlier copy, and may take itself for the owner that it was then. (Rule E4)
        if isTakenOver || node.wasTakenBack, self.now < node.excusedUntil {
            return self.count("exports after hidden pauses")
        }
        let content = volume.copy.content.current
        let broken =
            serves
            ? self.workloads[volume.number].promoted(node.id, content, at: self.now)
            : self.workloads[volume.number].objection(to: node.id, content)
        if let broken { self.fail("\(broken), in \(volume.name)") }
    }

    private func store(
        _ volume: SimulatedVolume, _ extent: Extent, _ kind: Volume.WriteKind, _ numbers: [UInt64]
    ) {
        for (place, block) in SimulatedVolume.range(of: extent).enumerated() {
            if case .zero = kind {
                volume.copy.set(block, 0)
            } else if place < numbers.count {
                volume.copy.set(block, numbers[place])
            }
        }
    }

    private func apply(
        _ volume: SimulatedVolume, _ sequence: UInt64, _ extent: Extent, _ kind: Volume.WriteKind, _ mask: UInt64,
        _ data: [UInt64]
    ) {
        var numbers: [UInt64] = []
        if case .data = kind {
            guard let kept = volume.inputSequence == sequence ? data : volume.received.take(sequence) else {
                return self.fail("no payload for received write \(sequence) on \(volume.node)")
            }
            numbers = kept
        }
        guard mask != 0 else { return self.store(volume, extent, kind, numbers) }
        var next = 0
        for (place, block) in SimulatedVolume.range(of: extent).enumerated() where mask >> UInt64(place) & 1 == 1 {
            if next < numbers.count { volume.copy.set(block, numbers[next]) }
            next += 1
        }
    }

    private func readChunk(
        _ volume: SimulatedVolume, _ peer: NodeID, _ session: UInt32, _ chunk: Extent, _ ticket: UInt64,
        _ exclusive: Bool, sums: [UInt64], on node: SimulatedNode
    ) {
        let sums = volume.isTakingSums && !exclusive ? sums : []
        var differing: UInt64 = 0
        var numbers: [UInt64] = []
        for (place, block) in SimulatedVolume.range(of: chunk).enumerated() {
            if place < sums.count, sums[place] == volume.copy.content.current[block] { continue }
            differing |= 1 << UInt64(place)
            numbers.append(volume.copy.content.current[block])
        }
        let input = Volume.Input.chunkRead(
            peer: peer, session: session, chunk: chunk, ticket: ticket, differing: differing)
        if exclusive {
            self.step(volume, input, data: numbers, on: node)
        } else {
            self.later(volume, node, input, data: numbers)
        }
    }
}
