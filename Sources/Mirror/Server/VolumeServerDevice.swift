import Basis
import Host
import Mirror
import Synchronization

/// What the export sees of the volume.
extension VolumeServer: BlockDevice {
    /// The volume's size.
    public var sizeBytes: UInt64 { self.options.sizeBytes }

    /// Reads the local copy. Waits while no lease allows an answer; the check follows the read. (Rule L12)
    public func read(offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> UInt32 {
        while true {
            let code = self.store.read(offset: offset, into: buffer)
            if code != 0 {
                self.log("cannot read \(self.options.backingPath): \(SystemText.error(code))")
                return BlockError.inputOutput
            }
            if self.mayRead() { return BlockError.none }
            guard self.waitUntilReadable() else { return BlockError.inputOutput }
        }
    }

    private func mayRead() -> Bool {
        let incarnation = self.readable.load(ordering: .acquiring)
        guard incarnation != 0, self.lease.incarnation.rawValue == incarnation else { return false }
        // The clock after the lease: what is read later only shortens it. (Rule L12)
        let end = self.lease.usableEnd
        return MachineClock.now < end
    }

    /// False once the export that asks is over.
    private func waitUntilReadable() -> Bool {
        var hold = self.state.hold()
        let generation = hold.value.exportGeneration
        hold.value.readers += 1
        defer { hold.value.readers -= 1 }
        while !hold.value.isStopping, hold.value.volume.isOwner, generation == hold.value.exportGeneration {
            if self.mayRead() { return true }
            hold.wait()
        }
        return false
    }

    /// Writes here and on the waiting set.
    public func write(
        offset: UInt64, data: UnsafeRawBufferPointer, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink
    ) {
        let extent = Extent(offset: offset, length: UInt64(data.count))
        self.submit(cookie, sink, data) { .write(id: $0, extent: extent, kind: .data, durable: durable) }
    }

    /// Zeroes here and on the waiting set.
    public func zero(
        offset: UInt64, length: UInt64, mayTrim: Bool, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink
    ) {
        let kind = Volume.WriteKind.zero(mayTrim ? .trim : .keep)
        let extent = Extent(offset: offset, length: length)
        self.submit(cookie, sink) { .write(id: $0, extent: extent, kind: kind, durable: durable) }
    }

    /// Makes every answered write stable here and on the waiting set.
    public func flush(cookie: UInt64, sink: any BlockCompletionSink) {
        self.submit(cookie, sink) { .flush(id: $0) }
    }

    /// A turn with a client's request. Its payload is copied only if its write has to wait.
    private func submit(
        _ cookie: UInt64, _ sink: any BlockCompletionSink, _ data: UnsafeRawBufferPointer? = nil,
        _ input: (UInt64) -> Volume.Input
    ) {
        var isRefused = false
        self.turn { (turn: consuming Turn) in
            isRefused = turn.state.isStopping
            if isRefused { return turn.finish() }
            let id = turn.state.requests.add(sink: sink, cookie: cookie)
            var carried = Carried()
            if let data { (carried.bytes, carried.request) = (data, id) }
            turn.step(input(id), &carried)
            if let data, !carried.isRequestWritten, turn.state.requests.contains(id) {
                turn.state.requests.keep(data, for: id)
            }
            return turn.finish()
        }
        if isRefused { sink.complete(cookie: cookie, error: BlockError.shutdown) }
    }

    /// Data and holes of the local copy.
    public func extents(offset: UInt64, length: UInt64) -> [BlockExtent] {
        self.store.runs(offset: offset, length: length).map {
            BlockExtent(length: $0.length, isHole: $0.isHole, isZero: $0.isHole)
        }
    }
}
