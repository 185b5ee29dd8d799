import Host

/// What a copy lies in, used by one thread at a time. Each 4 KiB block of data holds one number, so that a run stays small;
/// what lies behind the data,
/// the label, is kept as it is. Writes of data may be lost or kept block by block when power fails; a durable write of
/// less than a sector is there as a whole or not at all.
package final class SimulatedBlocks: BlockFile, @unchecked Sendable {
    package static let blockBytes: UInt64 = 4096

    /// All that lies there.
    package struct Content {
        /// What a read shows.
        package var current: [UInt64]
        /// What survives the loss of power.
        package var stable: [UInt64]
        /// Behind the data.
        package var tail: [UInt8] = []
        /// There is a file at all.
        package var isThere = true
        /// Blocks whose sync failed: they are read as they were written, and no later sync writes them. (fsync(2))
        package var abandoned: Set<Int> = []

        init(blocks: Int) {
            self.current = [UInt64](repeating: 0, count: blocks)
            self.stable = self.current
        }
    }

    package let path: String
    package let isFile = true
    private let blocks: Int
    package var content: Content
    /// Its file system is mounted.
    package var isMounted = true
    /// What writes, syncs and labels fail with; 0 for nothing.
    package var failure: Int32 = 0

    /// Nothing is there yet.
    package init(path: String, blocks: Int) {
        self.path = path
        self.blocks = blocks
        self.content = Content(blocks: blocks)
        self.content.isThere = false
    }

    private var dataBytes: UInt64 { UInt64(self.blocks) * Self.blockBytes }

    package var endBytes: UInt64 { self.content.tail.isEmpty ? 0 : self.dataBytes + UInt64(self.content.tail.count) }

    package func resize(to bytes: UInt64) -> Int32 {
        guard self.failure == 0 else { return self.failure }
        let behind = Int(max(bytes, self.dataBytes) - self.dataBytes)
        self.content.tail = Array(self.content.tail.prefix(behind))
        self.content.tail += repeatElement(0, count: behind - self.content.tail.count)
        return 0
    }

    package func read(offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32 {
        precondition(offset % Self.blockBytes == 0, "a read from \(offset), inside a block")
        guard offset + UInt64(buffer.count) <= self.endBytes else { return DiskErrorCode.inputOutput.rawValue }
        for position in stride(from: 0, to: buffer.count, by: Int(Self.blockBytes)) {
            let part = UnsafeMutableRawBufferPointer(
                rebasing: buffer[position..<min(position + Int(Self.blockBytes), buffer.count)])
            let place = offset + UInt64(position)
            if place >= self.dataBytes {
                let start = Int(place - self.dataBytes)
                part.copyBytes(from: self.content.tail[start..<start + part.count])
            } else {
                var number = self.content.current[Int(place / Self.blockBytes)]
                for index in part.indices {
                    part[index] = UInt8(truncatingIfNeeded: number)
                    number >>= 8
                }
            }
        }
        return 0
    }

    package func write(offset: UInt64, _ data: UnsafeRawBufferPointer) -> Int32 {
        self.put(offset: offset, Array(data))
    }

    package func writeDurably(offset: UInt64, _ bytes: [UInt8]) -> Int32 { self.put(offset: offset, bytes) }

    /// Only labels are written as bytes.
    private func put(offset: UInt64, _ bytes: [UInt8]) -> Int32 {
        precondition(offset >= self.dataBytes, "bytes are written into the data at \(offset)")
        guard self.failure == 0 else { return self.failure }
        let start = Int(offset - self.dataBytes)
        guard start + bytes.count <= self.content.tail.count else { return DiskErrorCode.noSpace.rawValue }
        self.content.tail.replaceSubrange(start..<start + bytes.count, with: bytes)
        return 0
    }

    package func zero(offset: UInt64, length: UInt64, trim: Bool) -> Int32 {
        guard self.failure == 0 else { return self.failure }
        for block in Int(offset / Self.blockBytes)..<Int((offset + length) / Self.blockBytes) where block < self.blocks
        { self.set(block, 0) }
        return 0
    }

    package func sync() -> Int32 {
        self.synced(self.content.current)
        return self.failure
    }

    package func runs(offset: UInt64, length: UInt64) -> [BlockRun] { [BlockRun(length: length, isHole: false)] }

    package func release() {}

    // MARK: Blocks as numbers

    /// Writes one block.
    package func set(_ block: Int, _ number: UInt64) {
        self.content.current[block] = number
        if !self.content.abandoned.isEmpty { self.content.abandoned.remove(block) }
    }

    /// A sync is over that began when the blocks were these.
    package func synced(_ then: [UInt64]) {
        guard self.failure == 0 else {
            for block in then.indices where then[block] != self.content.stable[block] {
                self.content.abandoned.insert(block)
            }
            return
        }
        guard !self.content.abandoned.isEmpty else {
            self.content.stable = then
            return
        }
        for block in then.indices where !self.content.abandoned.contains(block) {
            self.content.stable[block] = then[block]
        }
    }

    /// The machine loses power: un-synced blocks keep the old or the new content, as `keeps` says for each.
    package func losePower(keeping keeps: () -> Bool) {
        for block in self.content.current.indices
        where self.content.current[block] != self.content.stable[block] && !self.content.abandoned.contains(block) {
            if keeps() { self.content.stable[block] = self.content.current[block] }
        }
        self.content.abandoned = []
        self.content.current = self.content.stable
    }

    /// The file is there, and empty.
    package func make() { self.content = Content(blocks: self.blocks) }

    /// It is there with all its room, and blank.
    package func blank() {
        let room = self.content.tail.count
        self.make()
        self.content.tail = [UInt8](repeating: 0, count: room)
    }

    /// There is no file.
    package func remove() {
        self.make()
        self.content.isThere = false
    }
}

extension SimulatedDisk: BlockDisk {
    /// See `BlockDisk.openBlocks`.
    package func openBlocks(_ path: String, makes: Bool) throws(DiskError) -> SimulatedBlocks? {
        guard let file = self.blocks[path], file.isMounted else { return nil }
        guard !file.content.isThere else { return file }
        guard makes else { return nil }
        file.make()
        return file
    }

    /// See `BlockDisk.mountPoint`.
    package func mountPoint(of path: String) -> String { self.blocks[path]?.isMounted == true ? "/copies" : "/" }
}
