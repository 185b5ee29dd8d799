import Basis
import CLinux
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
        guard incarnation != 0, holdfast_lease_load(self.leasePage, HOLDFAST_LEASE_SLOT_INCARNATION) == incarnation
        else { return false }
        let end = holdfast_lease_usable_end(self.leasePage)
        return holdfast_boot_clock_nanoseconds() < end
    }

    /// False once the export that asks is over.
    private func waitUntilReadable() -> Bool {
        self.lock.lock()
        defer { self.lock.unlock() }
        let generation = self.exportGeneration
        self.readers += 1
        defer { self.readers -= 1 }
        while !self.isStopping, self.volume.isOwner, generation == self.exportGeneration {
            if self.mayRead() { return true }
            self.lock.wait()
        }
        return false
    }

    /// Writes here and on the waiting set.
    public func write(
        offset: UInt64, data: UnsafeRawBufferPointer, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink
    ) {
        self.lock.lock()
        let id = self.requests.add(sink: sink, cookie: cookie)
        self.inputRequest = id
        self.inputPayload = data
        let extent = Extent(offset: offset, length: UInt64(data.count))
        self.submit(id, .write(id: id, extent: extent, kind: .data, durable: durable), keep: data)
    }

    /// Zeroes here and on the waiting set.
    public func zero(
        offset: UInt64, length: UInt64, mayTrim: Bool, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink
    ) {
        self.lock.lock()
        let id = self.requests.add(sink: sink, cookie: cookie)
        let kind = Volume.WriteKind.zero(mayTrim ? .trim : .keep)
        let extent = Extent(offset: offset, length: length)
        self.submit(id, .write(id: id, extent: extent, kind: kind, durable: durable), keep: nil)
    }

    /// Makes every answered write stable here and on the waiting set.
    public func flush(cookie: UInt64, sink: any BlockCompletionSink) {
        self.lock.lock()
        let id = self.requests.add(sink: sink, cookie: cookie)
        self.submit(id, .flush(id: id), keep: nil)
    }

    /// Called with the lock, which it leaves. A payload is copied only if its write has to wait.
    private func submit(_ id: UInt64, _ input: Volume.Input, keep data: UnsafeRawBufferPointer?) {
        if self.isStopping {
            let request = self.requests.remove(id)
            self.finishStep()
            request?.sink.complete(cookie: request?.cookie ?? 0, error: BlockError.shutdown)
            return
        }
        self.wroteRequest = false
        self.stepLocked(input)
        if let data, !self.wroteRequest, self.requests.contains(id) { self.requests.keep(data, for: id) }
        self.finishStep()
    }

    /// Data and holes of the local copy.
    public func extents(offset: UInt64, length: UInt64) -> [BlockExtent] {
        self.store.runs(offset: offset, length: length).map {
            BlockExtent(length: $0.length, isHole: $0.isHole, isZero: $0.isHole)
        }
    }
}
