import Basis
import Mirror

/// Several replicas of one volume with disks, links and clocks that a test controls. Blocks hold one number each.
struct MirrorWorld {
    static let blockBytes: UInt64 = 4096

    enum LocalWork {
        case written(UInt64)
        case synced(UInt64, snapshot: [UInt64])
        case persisted(VolumeMetadata, UInt64)
        case digested(Extent, NodeID, UInt32, sums: [UInt64])
        /// `data` is what the disk held when the read began; nil for an exclusive read.
        case read(NodeID, UInt32, Extent, UInt64, sums: [UInt64]?, data: [UInt64]?)

        var name: String {
            switch self {
            case .written: "write"
            case .synced: "sync"
            case .persisted: "persist"
            case .digested, .read: "read"
            }
        }
    }

    struct Node {
        var volume: Volume?
        var disk: [UInt64]
        var stable: [UInt64]
        var stored: VolumeMetadata
        var instance: UInt64 { self.stored.instance }
        var requests: [UInt64: [UInt64]] = [:]
        var received: [UInt64: [UInt64]] = [:]
        var work: [LocalWork] = []
        var held: Set<String> = []
        var dialling: Set<NodeID> = []
        var isExported = false
    }

    struct Message {
        var frame: Frame
        var payload: [UInt64]
    }

    struct Link: Hashable {
        var dialler: NodeID
        var acceptor: NodeID
    }

    struct Wire {
        var forth: [Message] = []
        var back: [Message] = []
    }

    var now = Tick(nanoseconds: 1_000_000_000)
    /// The number of the write that is being taken.
    private var sequence: UInt64?
    var nodes: [NodeID: Node] = [:]
    var wires: [Link: Wire] = [:]
    var cut: Set<Set<NodeID>> = []
    var log: [String] = []
    var events: [(NodeID, VolumeEvent)] = []
    var replies: [(node: NodeID, id: UInt64, reply: Volume.Reply)] = []
    let blocks: Int
    let tuning: Volume.Tuning

    init(nodes: Int, blocks: Int, tuning: Volume.Tuning) {
        self.blocks = blocks
        self.tuning = tuning
        for number in 1...UInt32(nodes) {
            self.nodes[NodeID(number)] = Node(
                disk: [UInt64](repeating: 0, count: blocks), stable: [UInt64](repeating: 0, count: blocks),
                stored: VolumeMetadata(identity: UInt64(number) * 100, sizeBytes: UInt64(blocks) * Self.blockBytes))
        }
        for node in self.ids { self.start(node) }
    }

    var ids: [NodeID] { self.nodes.keys.sorted() }

    mutating func start(_ node: NodeID) {
        let mark = (self.nodes[node]?.stored.instance ?? 0) + 1000
        guard let stored = self.nodes[node]?.stored.started(mark: mark) else { return }
        self.nodes[node]?.stored = stored
        let configuration = Volume.Configuration(
            node: node, peers: self.ids.filter { $0 != node }, sizeBytes: UInt64(self.blocks) * Self.blockBytes,
            tuning: self.tuning)
        self.nodes[node]?.volume = Volume(configuration: configuration, metadata: stored)
    }

    /// Ends the server; `power` also loses what was not synced, except what `survives` picks.
    mutating func stop(_ node: NodeID, power: Bool, survives: (Int) -> Bool = { _ in false }) {
        self.nodes[node]?.volume = nil
        for link in self.wires.keys.sorted(by: { ($0.dialler, $0.acceptor) < ($1.dialler, $1.acceptor) })
        where link.dialler == node || link.acceptor == node {
            self.drop(link)
        }
        guard var state = self.nodes[node] else { return }
        if power {
            for block in 0..<self.blocks where !survives(block) { state.disk[block] = state.stable[block] }
            state.stable = state.disk
        }
        state.requests = [:]
        state.received = [:]
        state.work = []
        state.dialling = []
        state.isExported = false
        self.nodes[node] = state
    }

    /// By how much a node's boot clock is behind: its machine was taken back.
    private var behind: [NodeID: UInt64] = [:]

    private func tick(of node: NodeID) -> Tick {
        Tick(nanoseconds: self.now.nanoseconds - (self.behind[node] ?? 0))
    }

    /// The machine goes on from what was kept of it at that moment, memory and all; its connections are gone.
    mutating func takeBack(_ node: NodeID, to kept: Node, of moment: Tick) {
        for link in self.orderedLinks where link.dialler == node || link.acceptor == node { self.drop(link) }
        self.nodes[node] = kept
        self.behind[node] = self.now.nanoseconds - moment.nanoseconds
        for peer in self.ids where peer != node {
            self.input(.linkDown(peer: peer, direction: .outbound), to: node)
            self.input(.linkDown(peer: peer, direction: .inbound), to: node)
        }
    }

    mutating func drop(_ link: Link) {
        guard self.wires.removeValue(forKey: link) != nil else { return }
        self.input(.linkDown(peer: link.acceptor, direction: .outbound), to: link.dialler)
        self.input(.linkDown(peer: link.dialler, direction: .inbound), to: link.acceptor)
    }

    mutating func connect() {
        for node in self.ids {
            for peer in (self.nodes[node]?.dialling ?? []).sorted() {
                let link = Link(dialler: node, acceptor: peer)
                guard self.wires[link] == nil, !self.cut.contains([node, peer]), self.nodes[peer]?.volume != nil else {
                    continue
                }
                self.wires[link] = Wire()
                self.input(.linkUp(peer: peer, direction: .outbound), to: node)
                self.input(.linkUp(peer: node, direction: .inbound), to: peer)
            }
        }
    }

    mutating func cut(_ one: NodeID, _ other: NodeID) {
        self.cut.insert([one, other])
        self.drop(Link(dialler: one, acceptor: other))
        self.drop(Link(dialler: other, acceptor: one))
    }

    /// Numbers of an extent's first block and their count.
    func span(_ extent: Extent) -> Range<Int> {
        Int(extent.offset / Self.blockBytes)..<Int((extent.end + Self.blockBytes - 1) / Self.blockBytes)
    }

    mutating func write(_ node: NodeID, id: UInt64, block: Int, count: Int = 1, durable: Bool = false) {
        let extent = Extent(offset: UInt64(block) * Self.blockBytes, length: UInt64(count) * Self.blockBytes)
        self.nodes[node]?.requests[id] = [UInt64](repeating: id, count: count)
        self.input(.write(id: id, extent: extent, kind: .data, durable: durable), to: node)
    }

    mutating func input(_ input: Volume.Input, to node: NodeID, payload: [UInt64] = []) {
        guard self.nodes[node]?.volume != nil else { return }
        if case .frame(_, let frame) = input {
            switch frame.body {
            case .write(let sequence, _), .blocks(let sequence, _, _): self.sequence = sequence
            default: break
            }
        }
        defer { self.sequence = nil }
        var effects = Volume.Effects()
        let tick = self.tick(of: node)
        self.nodes[node]?.volume?.step(input, at: tick, into: &effects)
        for effect in effects.list { self.perform(effect, on: node, payload: payload) }
    }

    private mutating func perform(_ effect: Volume.Effect, on node: NodeID, payload: [UInt64]) {
        switch effect {
        case .writeLocal(let id, let sequence, let extent, let kind):
            let data = kind == .data ? self.nodes[node]?.requests[id] ?? [] : []
            for (index, block) in self.span(extent).enumerated() {
                self.nodes[node]?.disk[block] = data.isEmpty ? 0 : data[index]
            }
            self.nodes[node]?.work.append(.written(sequence))
        case .applyReceived(let sequence, let extent, let kind, let mask):
            var data: [UInt64] = []
            if kind == .data {
                let kept = self.nodes[node]?.received.removeValue(forKey: sequence)
                data = self.sequence == sequence ? payload : kept ?? []
            }
            var next = 0
            for (index, block) in self.span(extent).enumerated() {
                if mask != 0, mask & (1 << UInt64(index)) == 0 { continue }
                self.nodes[node]?.disk[block] = kind == .data ? data[next] : 0
                next += 1
            }
            self.nodes[node]?.work.append(.written(sequence))
        case .holdReceived(let sequence): self.nodes[node]?.received[sequence] = payload
        case .dropReceived: self.nodes[node]?.received = [:]
        case .syncLocal(let token):
            let snapshot = self.nodes[node]?.disk ?? []
            self.nodes[node]?.work.append(.synced(token, snapshot: snapshot))
        case .persist(let metadata, let token): self.nodes[node]?.work.append(.persisted(metadata, token))
        case .send(let peer, let frame, let place):
            self.send(frame, from: node, to: peer, payload: place, input: payload)
        case .digest(let chunk, let peer, let session):
            let sums = Array((self.nodes[node]?.disk ?? [])[self.span(chunk)])
            self.nodes[node]?.work.append(.digested(chunk, peer, session, sums: sums))
        case .readChunk(let peer, let session, let chunk, let ticket, let exclusive):
            let data = exclusive ? nil : Array((self.nodes[node]?.disk ?? [])[self.span(chunk)])
            let sums = exclusive || payload.isEmpty ? nil : payload
            let read = LocalWork.read(peer, session, chunk, ticket, sums: sums, data: data)
            if exclusive { self.complete(read, on: node) } else { self.nodes[node]?.work.append(read) }
        case .reply(let id, let reply):
            self.replies.append((node, id, reply))
            self.log.append("\(node) reply \(id) \(reply)")
        case .event(let event):
            self.events.append((node, event))
            if case .status = event {} else { self.log.append("\(node) \(Self.text(event))") }
        case .startExport: self.nodes[node]?.isExported = true
        case .stopExport: self.nodes[node]?.isExported = false
        case .dial(let peer): self.nodes[node]?.dialling.insert(peer)
        case .stopDialling(let peer):
            self.nodes[node]?.dialling.remove(peer)
            self.drop(Link(dialler: node, acceptor: peer))
        case .hangUp(let peer, .outbound): self.drop(Link(dialler: node, acceptor: peer))
        case .hangUp(let peer, .inbound): self.drop(Link(dialler: peer, acceptor: node))
        }
    }

    private mutating func send(
        _ frame: Frame, from node: NodeID, to peer: NodeID, payload: Volume.Payload, input: [UInt64]
    ) {
        let data: [UInt64] =
            switch payload {
            case .none: []
            case .request(let id): self.nodes[node]?.requests[id] ?? []
            case .input: input
            }
        let message = Message(frame: frame, payload: data)
        if Self.isForth(frame) {
            self.wires[Link(dialler: node, acceptor: peer)]?.forth.append(message)
        } else {
            self.wires[Link(dialler: peer, acceptor: node)]?.back.append(message)
        }
    }

    static func isForth(_ frame: Frame) -> Bool {
        switch frame.body {
        case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .note, .ping: true
        case .welcome, .received, .stable, .sums, .fenced, .pong, .wantsResync, .noted: false
        }
    }

    mutating func complete(_ work: LocalWork, on node: NodeID) {
        switch work {
        case .written(let sequence): self.input(.localWritten(sequence: sequence), to: node)
        case .synced(let token, let snapshot):
            self.nodes[node]?.stable = snapshot
            self.input(.localSynced(token: token), to: node)
        case .persisted(let metadata, let token):
            self.nodes[node]?.stored = metadata
            self.input(.metadataSynced(token: token), to: node)
        case .digested(let chunk, let peer, let session, let sums):
            self.input(.digested(chunk: chunk, peer: peer, session: session), to: node, payload: sums)
        case .read(let peer, let session, let chunk, let ticket, let sums, let before):
            let data = before ?? Array((self.nodes[node]?.disk ?? [])[self.span(chunk)])
            var mask: UInt64 = 0
            var differing: [UInt64] = []
            for (index, value) in data.enumerated() where sums.map({ $0[index] != value }) ?? true {
                mask |= 1 << UInt64(index)
                differing.append(value)
            }
            let read = Volume.Input.chunkRead(
                peer: peer, session: session, chunk: chunk, ticket: ticket, differing: mask)
            self.input(read, to: node, payload: differing)
        }
    }

    /// The first local work of a kind that is not held, per node: kinds overtake each other, one kind does not.
    func ready(_ node: NodeID) -> [Int] {
        guard let state = self.nodes[node] else { return [] }
        var seen = state.held
        return state.work.indices.filter { seen.insert(state.work[$0].name).inserted }
    }

    mutating func doWork(_ index: Int, on node: NodeID) {
        guard let work = self.nodes[node]?.work.remove(at: index) else { return }
        self.complete(work, on: node)
    }

    mutating func deliver(_ link: Link, forth: Bool) {
        if forth {
            guard let message = self.wires[link]?.forth.first else { return }
            self.wires[link]?.forth.removeFirst()
            self.input(.frame(from: link.dialler, message.frame), to: link.acceptor, payload: message.payload)
        } else {
            guard let message = self.wires[link]?.back.first else { return }
            self.wires[link]?.back.removeFirst()
            self.input(.frame(from: link.acceptor, message.frame), to: link.dialler, payload: message.payload)
        }
    }

    var orderedLinks: [Link] { self.wires.keys.sorted { ($0.dialler, $0.acceptor) < ($1.dialler, $1.acceptor) } }

    /// Runs until nothing is left to do but what is held.
    mutating func settle() {
        for _ in 0..<100_000 {
            self.connect()
            var moved = false
            for node in self.ids {
                if let index = self.ready(node).first {
                    self.doWork(index, on: node)
                    moved = true
                }
            }
            for link in self.orderedLinks {
                if self.wires[link]?.forth.isEmpty == false {
                    self.deliver(link, forth: true)
                    moved = true
                }
                if self.wires[link]?.back.isEmpty == false {
                    self.deliver(link, forth: false)
                    moved = true
                }
            }
            if !moved { return }
        }
        preconditionFailure("the world does not come to rest")
    }

    mutating func tick(_ span: Span) {
        self.now = self.now + span
        for node in self.ids { self.input(.tick, to: node) }
    }

    static func text(_ event: VolumeEvent) -> String {
        switch event {
        case .opened(let epoch): "opened \(epoch)"
        case .closed(let epoch): "closed \(epoch)"
        case .wantsLeave(let epoch, let version, let replica): "wantsLeave \(replica) epoch \(epoch) version \(version)"
        case .wantsJoin(let epoch, let version, let replica, _):
            "wantsJoin \(replica) epoch \(epoch) version \(version)"
        case .wantsOpen(let epoch, let version, let inSync):
            "wantsOpen \(inSync.map(\.node.description).joined(separator: ",")) epoch \(epoch) version \(version)"
        case .failed(let reason): "failed: \(reason)"
        case .copy(let report): "copy \(report.finding)"
        case .note(let text): "note: \(text)"
        case .takenBack(let reason): "taken back: \(reason)"
        case .outdated(let epoch, let version, let reason): "outdated epoch \(epoch) version \(version): \(reason)"
        case .status(let status): "status \(status.role.rawValue) dirty \(status.dirtyBytes)"
        }
    }
}
