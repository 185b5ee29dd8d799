import Basis

/// Which requests were applied, so that a copy of one that comes late changes nothing.
///
/// A request is sent again until its outcome is known, so its entry may be in the log twice, the second behind a later
/// command that it would undo.
struct AppliedRequests: Equatable, Sendable {
    /// One life of a node's daemon.
    struct Life: Equatable, Sendable {
        var node: NodeID
        var nonce: UInt64
        /// The highest number applied.
        var highest: UInt64 = 0
        /// A bit for each of the numbers up to `highest`, by their remainder; older ones count as applied.
        var bits = [UInt64](repeating: 0, count: AppliedRequests.window / 64)
    }

    /// How far behind the highest number a request may come for the first time.
    static let window = 2048
    /// Lives of one node's daemon that are remembered.
    static let livesMaximum = 4

    /// By node, each node's in the order of their first request.
    private(set) var lives: [Life] = []

    init() {}

    /// Notes the request; false when it was applied before, or is too old to tell.
    mutating func insert(node: NodeID, nonce: UInt64, sequence: UInt64) -> Bool {
        let place = self.place(node, nonce)
        let (word, bit) = Self.position(sequence)
        if sequence > self.lives[place].highest {
            // What lies between was not applied, and what it takes the place of is older than the window.
            let first = max(self.lives[place].highest + 1, sequence - min(sequence, UInt64(Self.window) - 1))
            for skipped in first...sequence {
                let (word, bit) = Self.position(skipped)
                self.lives[place].bits[word] &= ~bit
            }
            self.lives[place].highest = sequence
        } else if self.lives[place].highest - sequence >= UInt64(Self.window)
            || self.lives[place].bits[word] & bit != 0
        {
            return false
        }
        self.lives[place].bits[word] |= bit
        return true
    }

    private static func position(_ sequence: UInt64) -> (word: Int, bit: UInt64) {
        let number = Int(sequence % UInt64(Self.window))
        return (number / 64, 1 << UInt64(number % 64))
    }

    private mutating func place(_ node: NodeID, _ nonce: UInt64) -> Int {
        if let known = self.lives.firstIndex(where: { $0.node == node && $0.nonce == nonce }) { return known }
        let own = self.lives.indices.filter { self.lives[$0].node == node }
        if own.count >= Self.livesMaximum, let oldest = own.first { self.lives.remove(at: oldest) }
        let place = self.lives.firstIndex { $0.node > node } ?? self.lives.count
        self.lives.insert(Life(node: node, nonce: nonce), at: place)
        return place
    }

    func encode(into writer: inout ByteWriter) {
        writer.list(self.lives) { writer, life in
            writer.node(life.node)
            writer.uint64(life.nonce)
            writer.uint64(life.highest)
            for word in life.bits { writer.uint64(word) }
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> AppliedRequests {
        var requests = AppliedRequests()
        requests.lives = try reader.list { (reader) throws(CodecError) in
            var life = Life(node: try reader.node(), nonce: try reader.uint64(), highest: try reader.uint64())
            for place in life.bits.indices { life.bits[place] = try reader.uint64() }
            return life
        }
        return requests
    }
}
