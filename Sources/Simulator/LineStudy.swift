import Basis
import Raft

/// Consensus alone over lines like those between real sites, for as long as a year: how often a leader that lives and is linked
/// loses its leadership all the same, and what that patience costs when one dies.
///
/// Nothing else of a node is played. A line is a connection of TCP in each direction, as bad as they get: what is lost comes
/// again after a round trip and the larger of 200 ms and four times the jitter, twice as long each further time, and all that
/// was sent behind it waits for it. With `areDatagrams` what is lost does not come again.
public struct LineStudyOptions: Sendable {
    /// Replays the run.
    public var seed: UInt64
    /// Simulated time.
    public var length: Span
    /// How many nodes.
    public var nodes: UInt32 = 3
    /// There and back, without jitter.
    public var roundTrip = Span.milliseconds(1)
    /// Each way takes up to so much more or less.
    public var jitter = Span.zero
    /// Of a thousand messages so many are lost.
    public var lossPerMille: UInt64 = 0
    /// What is lost does not come again.
    public var areDatagrams = false
    /// About every second each node stands still for so long.
    public var pause = Span.zero
    /// What a write of the log takes, from half of it to one and a half times.
    public var disk = Span.milliseconds(2)
    /// The leader dies so often, and is back after a minute.
    public var deaths: UInt64 = 0
    /// Nobody learns what the lines are like.
    public var isPatienceFixed = false

    /// A run of this length over perfect lines.
    public init(seed: UInt64, length: Span) {
        self.seed = seed
        self.length = length
    }
}

/// What came of it.
public struct LineStudyResult: Sendable {
    /// A leader that lived lost its leadership; what the nodes said before.
    public var falseElections: [(at: Tick, said: [String])] = []
    /// How often a node asked the others whether it could win, although the leader lived.
    public var questions = 0
    /// From a leader's death until another one led.
    public var failovers: [Span] = []
    /// The longest silence after which a leader would have been given up, looked at every ten minutes.
    public var longestPatience = Span.zero
    /// Events played.
    public var events: UInt64 = 0
}

/// See `LineStudyOptions`.
public struct LineStudy {
    private enum Event {
        case message(from: Int, to: Int, life: Int, Message)
        case tick(Int)
        case written(Int, life: Int, sequence: UInt64)
        case entry
        case death
        case birth(Int)
    }

    private struct Node {
        var core: Consensus?
        var disk = RestoredState()
        var life = 0
        var tickAt = UInt64.max
        var pauseFrom: UInt64
        var writtenAt: UInt64 = 0
    }

    private let options: LineStudyOptions
    private var random: SeededRandom
    private var nodes: [Node] = []
    private var heap = TimedHeap<Event>()
    private var now: UInt64 = 0
    /// When what was sent last in each direction arrives.
    private var arrivals: [UInt64]
    private var effects = Raft.Effects()
    private var said: [String] = []
    private var diedAt: UInt64?
    private var hasLed = false
    private var result = LineStudyResult()

    /// All nodes are there, and none has led.
    public init(_ options: LineStudyOptions) {
        self.options = options
        self.random = SeededRandom(seed: options.seed)
        self.arrivals = [UInt64](repeating: 0, count: Int(options.nodes * options.nodes))
    }

    /// Plays it.
    public mutating func run() -> LineStudyResult {
        let voters = (1...self.options.nodes).map { NodeID($0) }
        let birth = Snapshot(
            mark: LogMark(term: Term(1), index: LogIndex(1)), membership: Membership(voters: voters),
            membershipIndex: LogIndex(1), data: [])
        for place in voters.indices {
            self.nodes.append(Node(disk: RestoredState(snapshot: birth), pauseFrom: self.drawPause()))
            self.start(place)
        }
        self.heap.add(.entry, at: 10_000_000_000)
        let every = self.options.length.nanoseconds / (self.options.deaths + 1)
        for number in 0..<self.options.deaths { self.heap.add(.death, at: every * (number + 1)) }
        let end = self.options.length.nanoseconds
        while let (time, event) = self.heap.next(), time <= end {
            self.now = time
            self.result.events += 1
            self.handle(event)
        }
        return self.result
    }

    private mutating func start(_ place: Int) {
        var settings = Consensus.Settings()
        if self.options.isPatienceFixed { settings.electionTimeoutMaximum = settings.electionTimeout }
        self.nodes[place].core = Consensus(
            id: NodeID(UInt32(place) + 1), settings: settings, restored: self.nodes[place].disk,
            seed: self.random.next(), at: Tick(nanoseconds: self.now))
        self.nodes[place].tickAt = .max
        self.schedule(place)
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .message(let from, let to, let life, let message):
            guard self.nodes[to].life == life, !self.isPaused(to, event) else { return }
            self.step(to, .receive(from: NodeID(UInt32(from) + 1), message))
        case .tick(let place):
            guard self.nodes[place].tickAt <= self.now, let core = self.nodes[place].core else { return }
            self.nodes[place].tickAt = .max
            guard core.outline.nextDeadline.nanoseconds <= self.now else { return self.schedule(place) }
            guard !self.isPaused(place, event) else { return }
            self.step(place, .tick)
        case .written(let place, let life, let sequence):
            guard self.nodes[place].life == life, !self.isPaused(place, event) else { return }
            self.step(place, .persisted(sequence: sequence))
        case .entry:
            self.heap.add(.entry, at: self.now + 600_000_000_000)
            for node in self.nodes {
                self.result.longestPatience = max(self.result.longestPatience, node.core?.patience ?? .zero)
            }
            if let leader = self.leader { self.step(leader, .propose([1])) }
        case .death:
            guard let leader = self.leader else { return }
            self.nodes[leader].core = nil
            self.nodes[leader].life += 1
            self.diedAt = self.now
            self.heap.add(.birth(leader), at: self.now + 60_000_000_000)
        case .birth(let place): self.start(place)
        }
    }

    private var leader: Int? { self.nodes.firstIndex { $0.core?.isLeader == true } }

    private mutating func drawPause() -> UInt64 { self.now + self.random.below(2_000_000_000) }

    /// Whether the node stands still: then the event comes when it goes on.
    private mutating func isPaused(_ place: Int, _ event: Event) -> Bool {
        let pause = self.options.pause.nanoseconds
        while self.nodes[place].pauseFrom + pause <= self.now {
            self.nodes[place].pauseFrom = self.nodes[place].pauseFrom + pause + self.random.below(2_000_000_000)
        }
        guard pause > 0, self.nodes[place].pauseFrom <= self.now else { return false }
        if case .tick = event { self.nodes[place].tickAt = self.nodes[place].pauseFrom + pause }
        self.heap.add(event, at: self.nodes[place].pauseFrom + pause)
        return true
    }

    private mutating func schedule(_ place: Int) {
        guard let due = self.nodes[place].core?.outline.nextDeadline.nanoseconds, due < self.nodes[place].tickAt else {
            return
        }
        self.nodes[place].tickAt = max(due, self.now)
        self.heap.add(.tick(place), at: self.nodes[place].tickAt)
    }

    private mutating func step(_ place: Int, _ input: Consensus.Input) {
        self.effects.removeAll()
        self.nodes[place].core?.step(input, at: Tick(nanoseconds: self.now), into: &self.effects)
        for note in self.effects.notes { self.take(note, of: place) }
        for letter in self.effects.messagesNow { self.send(letter, from: place, at: self.now) }
        if let request = self.effects.persist {
            self.nodes[place].disk.take(request)
            let half = self.options.disk / 2
            let written = self.now + (half + self.random.span(.zero, self.options.disk)).nanoseconds
            self.nodes[place].writtenAt = max(self.nodes[place].writtenAt, written)
            self.heap.add(
                .written(place, life: self.nodes[place].life, sequence: request.sequence),
                at: self.nodes[place].writtenAt)
        }
        let held = self.effects.messagesAfterPersist
        for letter in held { self.send(letter, from: place, at: max(self.now, self.nodes[place].writtenAt)) }
        self.schedule(place)
    }

    private mutating func send(_ letter: Outbound, from place: Int, at time: UInt64) {
        let to = Int(letter.to.rawValue) - 1
        guard self.nodes[to].core != nil else { return }
        let jitter = self.options.jitter.nanoseconds
        var arrival = time + self.options.roundTrip.nanoseconds / 2 + (jitter > 0 ? self.random.below(2 * jitter) : 0)
        arrival -= min(jitter, arrival - time)
        var wait = self.options.roundTrip.nanoseconds + max(200_000_000, 4 * jitter)
        while self.options.lossPerMille > 0, self.random.chance(perMille: self.options.lossPerMille) {
            if self.options.areDatagrams { return }
            arrival += wait
            wait *= 2
        }
        if !self.options.areDatagrams {
            let line = place * self.nodes.count + to
            self.arrivals[line] = max(self.arrivals[line], arrival)
            arrival = self.arrivals[line]
        }
        self.heap.add(.message(from: place, to: to, life: self.nodes[to].life, letter.message), at: arrival)
    }

    private mutating func take(_ note: ConsensusNote, of place: Int) {
        self.said.append("\(Tick(nanoseconds: self.now)) n\(place + 1) \(note)")
        if self.said.count > 8 { self.said.removeFirst() }
        switch note {
        case .missesLeader:
            if self.diedAt == nil { self.result.questions += 1 }
        case .leads:
            if let diedAt = self.diedAt {
                self.result.failovers.append(Span(nanoseconds: self.now - diedAt))
                self.diedAt = nil
            } else if self.hasLed {
                self.result.falseElections.append((Tick(nanoseconds: self.now), self.said))
            }
            self.hasLed = true
        default: break
        }
    }
}

extension RestoredState {
    fileprivate mutating func take(_ request: PersistRequest) {
        if let snapshot = request.snapshot { self.snapshot = snapshot }
        if let first = request.entries.first {
            while let last = self.entries.last, last.mark.index >= first.mark.index { self.entries.removeLast() }
            self.entries += request.entries
        }
        if let hardState = request.hardState { self.hardState = hardState }
    }
}

/// What is due, the earliest first; of the same time the one that was added first.
struct TimedHeap<Element> {
    private var items: [(time: UInt64, number: UInt64, element: Element)] = []
    private var added: UInt64 = 0

    mutating func add(_ element: Element, at time: UInt64) {
        self.added += 1
        self.items.append((time, self.added, element))
        var place = self.items.count - 1
        while place > 0, self.isEarlier(place, (place - 1) / 2) {
            self.items.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func next() -> (UInt64, Element)? {
        guard !self.items.isEmpty else { return nil }
        self.items.swapAt(0, self.items.count - 1)
        let first = self.items.removeLast()
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < self.items.count && self.isEarlier(child, least) {
                least = child
            }
            if least == place { return (first.time, first.element) }
            self.items.swapAt(place, least)
            place = least
        }
    }

    private func isEarlier(_ left: Int, _ right: Int) -> Bool {
        (self.items[left].time, self.items[left].number) < (self.items[right].time, self.items[right].number)
    }
}
