import Basis

/// One bit per region of a volume: set where two replicas may differ.
public struct DirtyMap: Hashable, Sendable {
    /// How many regions there are.
    public private(set) var regions: Int
    /// The bits, region 0 in the lowest bit of the first word.
    public private(set) var words: [UInt64]
    /// How many bits are set.
    public private(set) var count: Int

    /// No region, or every region, set.
    public init(regions: Int, all: Bool = false) {
        self.regions = regions
        self.words = [UInt64](repeating: all ? .max : 0, count: (regions + 63) / 64)
        self.count = all ? regions : 0
        if all, regions % 64 != 0 { self.words[self.words.count - 1] = (1 << UInt64(regions % 64)) - 1 }
    }

    /// Whether the region is set.
    public subscript(_ region: Int) -> Bool {
        self.words[region >> 6] & (1 << UInt64(region & 63)) != 0
    }

    /// Sets one region; false if it was set.
    @discardableResult public mutating func insert(_ region: Int) -> Bool {
        precondition(region < self.regions, "region \(region) of \(self.regions)")
        let bit: UInt64 = 1 << UInt64(region & 63)
        guard self.words[region >> 6] & bit == 0 else { return false }
        self.words[region >> 6] |= bit
        self.count += 1
        return true
    }

    /// Clears one region; false if it was clear.
    @discardableResult public mutating func remove(_ region: Int) -> Bool {
        let bit: UInt64 = 1 << UInt64(region & 63)
        guard self.words[region >> 6] & bit != 0 else { return false }
        self.words[region >> 6] &= ~bit
        self.count -= 1
        return true
    }

    /// Adds regions at the end, clear.
    public mutating func grow(to regions: Int) {
        guard regions > self.regions else { return }
        self.regions = regions
        self.words += [UInt64](repeating: 0, count: (regions + 63) / 64 - self.words.count)
    }

    /// Adds every region of `other`, which must have as many.
    public mutating func formUnion(_ other: DirtyMap) {
        self.combine(other) { $0 | $1 }
    }

    /// Keeps only regions of `other`, which must have as many.
    public mutating func formIntersection(_ other: DirtyMap) {
        self.combine(other) { $0 & $1 }
    }

    /// The first set region at or after `start`.
    public func first(from start: Int) -> Int? {
        var index = start >> 6
        guard start < self.regions else { return nil }
        var word = self.words[index] & (.max << UInt64(start & 63))
        while word == 0 {
            index += 1
            guard index < self.words.count else { return nil }
            word = self.words[index]
        }
        return index * 64 + word.trailingZeroBitCount
    }

    /// Appends regions and bits.
    public func encode(into writer: inout ByteWriter) {
        writer.uint32(UInt32(self.regions))
        for word in self.words { writer.uint64(word) }
    }

    /// Takes a map; bits beyond the last region are refused.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> DirtyMap {
        let regions = Int(try reader.uint32())
        guard (regions + 63) / 64 * 8 <= reader.remaining else { throw .truncated(offset: reader.offset) }
        var map = DirtyMap(regions: regions)
        for index in map.words.indices {
            map.words[index] = try reader.uint64()
            map.count += map.words[index].nonzeroBitCount
        }
        if regions % 64 != 0, let last = map.words.last, last >> UInt64(regions % 64) != 0 {
            throw .invalid(field: "dirty map", offset: reader.offset)
        }
        return map
    }

    private mutating func combine(_ other: DirtyMap, _ operation: (UInt64, UInt64) -> UInt64) {
        precondition(self.regions == other.regions, "maps of different volumes")
        var count = 0
        for index in self.words.indices {
            self.words[index] = operation(self.words[index], other.words[index])
            count += self.words[index].nonzeroBitCount
        }
        self.count = count
    }
}
