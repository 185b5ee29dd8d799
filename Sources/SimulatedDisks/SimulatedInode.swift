/// Files of a simulated disk: what survives the loss of power, and the writes since.
extension SimulatedDisk {
    struct Write {
        var offset: Int
        var bytes: [UInt8]
        /// A sync of it failed: it is still read back, but no later sync writes it.
        var abandoned = false

        /// What is left of it where a later write does not cover it.
        func without(_ range: Range<Int>) -> [Write] {
            let end = self.offset + self.bytes.count
            guard range.overlaps(self.offset..<end) else { return [self] }
            return [(self.offset, range.lowerBound), (range.upperBound, end)].filter { $0.0 < $0.1 }.map { start, end in
                Write(offset: start, bytes: Array(self.bytes[start - self.offset..<end - self.offset]), abandoned: true)
            }
        }
    }

    struct Inode {
        var durable: [UInt8] = []
        var pending: [Write] = []

        var current: [UInt8] {
            var bytes = self.durable
            for write in self.pending { SimulatedDisk.apply(write, to: &bytes) }
            return bytes
        }

        /// What it covers of a write whose sync failed lies in the cache no more.
        mutating func add(_ write: Write) {
            if self.pending.contains(where: \.abandoned) {
                let range = write.offset..<write.offset + write.bytes.count
                self.pending = self.pending.flatMap { $0.abandoned ? $0.without(range) : [$0] }
            }
            self.pending.append(write)
        }
    }

    static func apply(_ write: Write, to bytes: inout [UInt8]) {
        let end = write.offset + write.bytes.count
        if bytes.count == write.offset {
            bytes += write.bytes
            return
        }
        if bytes.count < end { bytes += repeatElement(0, count: end - bytes.count) }
        bytes.replaceSubrange(write.offset..<end, with: write.bytes)
    }
}
