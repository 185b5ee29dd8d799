import Basis

/// What owner and replica share: the metadata, the order of its persists, and which marks are known to be on disk.
struct Ledger: Sendable {
    /// Persists in the order in which they were asked for.
    private struct Tokens: Sendable {
        var last: UInt64 = 0
        /// The latest that is on disk.
        var durable: UInt64 = 0
        /// The ones that hold the present epoch, and the latest turn of marks.
        var epoch: UInt64 = 0
        var turn: UInt64 = 0
    }

    var configuration: Volume.Configuration
    private(set) var metadata: VolumeMetadata
    /// For each region the sequence of the last write in the present session, as owner or as replica.
    var touched: [UInt64]
    /// Marks that are on disk and stay there whatever persist is under way: such regions may be written at once.
    var safe: DirtyMap
    private var flying: DirtyMap?
    private var wanted = false
    private var tokens = Tokens()
    /// The next persist is one that the label in the backing counts. (Rule V17)
    private var raisesCount = false
    private var lastSync: UInt64 = 0

    /// The turn of marks in the persist under way, and the one on disk: what a copy that is made equal may say that it has
    /// noted. (Rule V19)
    private var flyingTurn: UInt64
    private(set) var durableTurn: UInt64
    /// The boot clock at the step under way.
    var clock = Tick.zero
    /// This run of the server; another one once it was taken back. (Rule E4.2)
    private var run: RunID
    /// How far each other server was heard, and has heard.
    private var hearings: [(node: NodeID, hearing: Hearing, latest: Frame.Word.Start)] = []
    /// Writes of this run.
    private var writes: UInt64 = 0
    /// The lease as last read; clients are answered only before its end. (Rule L12)
    var leaseEnd = Tick.zero
    /// Who holds it.
    var leaseIncarnation = Incarnation.none
    /// Bytes written by clients.
    var writtenBytes: UInt64 = 0

    init(configuration: Volume.Configuration, metadata: VolumeMetadata) {
        self.configuration = configuration
        self.metadata = metadata
        self.run = RunID(metadata.starts.last ?? metadata.instance)
        self.flyingTurn = metadata.notedTurn
        self.durableTurn = metadata.notedTurn
        self.safe = metadata.marks
        self.touched = [UInt64](repeating: 0, count: metadata.marks.regions)
    }

    var identity: ReplicaIdentity {
        ReplicaIdentity(node: self.configuration.node, identity: self.metadata.identity)
    }
    var regionBytes: UInt64 { self.metadata.regionBytes }

    func regions(of extent: Extent) -> ClosedRange<Int> {
        let first = Int(extent.offset / self.regionBytes)
        return first...max(first, Int((extent.end - 1) / self.regionBytes))
    }

    func contains(_ extent: Extent) -> Bool {
        extent.length > 0 && extent.offset < self.configuration.sizeBytes
            && extent.length <= self.configuration.sizeBytes - extent.offset
    }

    // MARK: Persisting

    /// Asks for a persist that holds the present metadata; returns the token that will say so.
    @discardableResult mutating func persist(into effects: inout Volume.Effects) -> UInt64 {
        guard self.flying == nil else {
            self.wanted = true
            return self.tokens.last + 1
        }
        self.tokens.last += 1
        if self.raisesCount { self.metadata.count += 1 }
        self.raisesCount = false
        self.flying = self.metadata.marks
        self.flyingTurn = self.metadata.notedTurn
        effects.append(.persist(self.metadata, token: self.tokens.last))
        return self.tokens.last
    }

    /// A persist ended: its marks are safe unless they were cleared meanwhile, and the next may start.
    mutating func persisted(_ token: UInt64, into effects: inout Volume.Effects) {
        guard token == self.tokens.last, var landed = self.flying else { return }
        self.flying = nil
        self.tokens.durable = token
        self.durableTurn = self.flyingTurn
        landed.formIntersection(self.metadata.marks)
        self.safe.formUnion(landed)
        if self.wanted {
            self.wanted = false
            // What is safe now stays safe: the next persist holds every mark of the memory.
            self.persist(into: &effects)
        }
    }

    /// A fresh token for `syncLocal`.
    mutating func nextSync() -> UInt64 {
        self.lastSync += 1
        return self.lastSync
    }

    // MARK: Epoch, set, lineage

    /// Accepts an epoch; it may be used once `isEpochDurable`. (Rule V1)
    mutating func raise(epoch: Epoch, incarnation: Incarnation, into effects: inout Volume.Effects) {
        precondition(epoch >= self.metadata.epoch, "an epoch never sinks")
        self.metadata.epoch = epoch
        self.metadata.incarnation = incarnation
        self.raisesCount = true
        self.tokens.epoch = self.persist(into: &effects)
    }

    var isEpochDurable: Bool { self.tokens.epoch <= self.tokens.durable }

    mutating func note(inSync: [NodeID], version: UInt64) {
        self.metadata.inSync = inSync.sorted()
        self.metadata.version = version
    }

    /// The next turn of marks; it may be told to others at once, but rested upon only once `isTurnDurable`. (Rule V19)
    mutating func noteTurn(_ turn: UInt64, into effects: inout Volume.Effects) {
        self.metadata.notedTurn = max(self.metadata.notedTurn, turn)
        self.raisesCount = true
        self.tokens.turn = self.persist(into: &effects)
    }

    var isTurnDurable: Bool { self.tokens.turn <= self.tokens.durable }

    /// Marks of this turn are cleared here.
    mutating func noteCleared(turn: UInt64) { self.metadata.clearedTurn = max(self.metadata.clearedTurn, turn) }

    /// The copy was made equal to one that has noted `turn`.
    mutating func adopt(turn: UInt64) {
        self.metadata.notedTurn = turn
        self.metadata.clearedTurn = min(self.metadata.clearedTurn, turn)
    }

    /// The log noted a start: older ones need not be remembered. False if it was not one of this copy's. (Rule V18)
    mutating func noted(mark: UInt64) -> Bool {
        guard let index = self.metadata.starts.firstIndex(of: mark), index > 0 || !self.metadata.isNoted else {
            return false
        }
        self.metadata.starts.removeFirst(index)
        self.metadata.isNoted = true
        return true
    }

    mutating func distrust() { self.metadata.trusted = false }

    /// The backing or the metadata failed: says so in the metadata, whatever persist was under way, and without touching
    /// the label in a backing that may answer no more.
    mutating func distrustAfterFailure(into effects: inout Volume.Effects) {
        self.distrust()
        self.raisesCount = false
        self.flying = nil
        self.persist(into: &effects)
    }

    // MARK: What the servers know of each other (rule E4.2)

    /// What to say to another server.
    func word(to node: NodeID) -> Frame.Word {
        let known = self.hearings.first { $0.node == node }
        let word = (known?.hearing ?? Hearing()).word(stamp: self.clock, records: self.writes)
        let own = Frame.Word.Start(identity: self.metadata.identity, instance: self.metadata.instance)
        return Frame.Word(run: self.run, word: word, own: own, known: known?.latest ?? .none)
    }

    mutating func hear(_ word: Frame.Word, from node: NodeID) -> Hearing.Finding {
        // A later start of this very copy than this one: it is an older copy.
        if word.known.identity == self.metadata.identity, word.known.instance > self.metadata.instance {
            return .takenBack
        }
        if !self.hearings.contains(where: { $0.node == node }) { self.hearings.append((node, Hearing(), .none)) }
        for index in self.hearings.indices where self.hearings[index].node == node {
            let latest = self.hearings[index].latest
            if latest.identity != word.own.identity || latest.instance < word.own.instance {
                self.hearings[index].latest = word.own
            }
            return self.hearings[index].hearing.take(
                word.word, from: word.run, own: self.run, records: self.writes, at: self.clock)
        }
        return .good
    }

    /// The copy is an older one, and is made equal as a whole. The server goes on as another, later than all that anybody has
    /// heard of it: what was heard before says nothing of it.
    mutating func takenBack(after known: Frame.Word.Start, into effects: inout Volume.Effects) {
        self.distrust()
        if known.identity == self.metadata.identity {
            self.metadata.instance = max(self.metadata.instance, known.instance)
        }
        self.metadata.instance += 1
        // As with an epoch: nobody is welcomed before it is on disk.
        self.raisesCount = true
        self.tokens.epoch = self.persist(into: &effects)
        self.run = RunID((self.run.rawValue ^ self.clock.nanoseconds) &* 0x9E37_79B9_7F4A_7C15 | 1)
        self.hearings.removeAll()
        // Nor does it remember how the log knew it last. (Rule V18)
        self.metadata.starts = [self.run.rawValue]
    }

    /// After a whole copy from an owner the disk holds what it should.
    mutating func trust() { self.metadata.trusted = true }

    /// Every write of this copy outside its marks is stable on `replica`.
    mutating func cover(_ replica: ReplicaIdentity) {
        self.metadata.covered.removeAll { $0.node == replica.node }
        self.metadata.covered.append(replica)
        self.metadata.covered.sort { $0.node < $1.node }
    }

    /// The same for all of `replicas`, and for no other copy; false if nothing changed.
    mutating func cover(exactly replicas: [ReplicaIdentity]) -> Bool {
        let others = replicas.filter { $0.node != self.configuration.node }.sorted { $0.node < $1.node }
        guard others != self.metadata.covered else { return false }
        self.metadata.covered = others
        return true
    }

    // MARK: Marks

    /// Whether every region that may be written at once is marked.
    var areSafeMarked: Bool {
        for place in self.safe.words.indices where self.safe.words[place] & ~self.metadata.marks.words[place] != 0 {
            return false
        }
        return true
    }

    /// Whether the extent may be written: its marks are on disk. (Rule V7)
    func isSafe(_ extent: Extent) -> Bool {
        for region in self.regions(of: extent) where !self.safe[region] { return false }
        return true
    }

    /// Marks the regions of an extent and some after it, and asks for a persist. Large writes are mostly sequential:
    /// more is marked after them, so that not each of them waits for a persist.
    mutating func mark(_ extent: Extent, into effects: inout Volume.Effects) {
        let regions = self.regions(of: extent)
        let ahead = self.configuration.tuning.markAhead * min(regions.count, 16)
        let last = min(regions.upperBound + ahead, self.metadata.marks.regions - 1)
        var changed = false
        for region in regions.lowerBound...last where self.metadata.marks.insert(region) { changed = true }
        if changed { self.persist(into: &effects) }
    }

    mutating func touch(_ extent: Extent, sequence: UInt64) {
        self.writes += 1
        for region in self.regions(of: extent) { self.touched[region] = sequence }
    }

    func isTouched(_ extent: Extent, after sequence: UInt64) -> Bool {
        for region in self.regions(of: extent) where self.touched[region] > sequence { return true }
        return false
    }

    /// A new session numbers its writes from the start: every older mark counts as touched before it.
    mutating func forgetTouched() {
        for region in self.touched.indices { self.touched[region] = 0 }
    }

    /// Clears marks whose last write is stable on every replica. The caller vouches for that. (Rules V6, V7)
    mutating func clear(upTo sequence: UInt64) -> Bool {
        var changed = false
        var next = self.metadata.marks.first(from: 0)
        while let region = next {
            if self.touched[region] <= sequence {
                self.metadata.marks.remove(region)
                self.safe.remove(region)
                changed = true
            }
            next = self.metadata.marks.first(from: region + 1)
        }
        return changed
    }
}
