import Basis
import CopyStorage
import Glibc
import Host
import Mirror

extension VolumeServer {
    /// One sync serves everything that was asked before it began.
    func runSyncs() {
        while let tokens = self.syncs.takeAll() {
            let code = self.store.sync()
            self.turn { (turn: consuming Turn) in
                if code == 0 {
                    for token in tokens { turn.step(.localSynced(token: token)) }
                } else {
                    turn.step(.localFailed(reason: self.failure("sync", code)))
                }
                return turn.finish()
            }
            // What a failed sync left on the disk is unknown: a later success would prove nothing. (fsync(2))
            if code != 0 { return }
        }
    }

    /// Only the newest metadata is stored: it holds every earlier mark that still counts.
    func runPersists() {
        while let batch = self.persists.takeAll() {
            guard let newest = batch.last else { continue }
            do throws(StoreError) {
                try self.copy.store(newest.0)
                self.turn { (turn: consuming Turn) in
                    for (_, token) in batch { turn.step(.metadataSynced(token: token)) }
                    return turn.finish()
                }
            } catch {
                self.log("\(error)")
                // What follows says that the copy is not to be trusted, and may yet reach the disk of the metadata.
                self.step(.localFailed(reason: "\(error); replace the disk"))
            }
        }
    }

    // MARK: Resync

    func runChunks() {
        var buffer = [UInt8](repeating: 0, count: Int(Volume.Resync.blockBytes) * 64)
        while let batch = self.chunks.takeAll() {
            for work in batch {
                switch work {
                case .digest(let chunk, let peer, let session):
                    let code = self.read(chunk, into: &buffer)
                    guard code == 0 else { return self.step(.localFailed(reason: self.failure("read", code))) }
                    let sums = buffer.withUnsafeBytes {
                        BlockDigest.ofEach(UnsafeRawBufferPointer(rebasing: $0[..<Int(chunk.length)]))
                    }
                    sums.map(\.littleEndian).withUnsafeBytes {
                        self.step(.digested(chunk: chunk, peer: peer, session: session), carrying: $0)
                    }
                case .compare(let peer, let session, let chunk, let ticket, let sums, let exclusive):
                    func told(_ mask: UInt64) -> Volume.Input {
                        .chunkRead(peer: peer, session: session, chunk: chunk, ticket: ticket, differing: mask)
                    }
                    let isRead =
                        exclusive
                        ? self.compareAlone(chunk, &buffer, told) : self.compare(chunk, sums, &buffer, told)
                    guard isRead else { return }
                }
            }
        }
    }

    /// Tells the volume which blocks of a chunk differ from a peer's. False after an I/O error, which ends the volume.
    private func compare(
        _ chunk: Extent, _ sums: [UInt64]?, _ buffer: inout [UInt8], _ told: (UInt64) -> Volume.Input
    ) -> Bool {
        let code = self.read(chunk, into: &buffer)
        guard code == 0 else {
            self.step(.localFailed(reason: self.failure("read", code)))
            return false
        }
        let mask = Self.differing(buffer, chunk, sums)
        Self.gather(&buffer, chunk, mask) { self.step(told(mask), carrying: $0) }
        return true
    }

    /// Sends a whole chunk, which no write changes meanwhile: it is read in the turn.
    private func compareAlone(_ chunk: Extent, _ buffer: inout [UInt8], _ told: (UInt64) -> Volume.Input) -> Bool {
        var code: Int32 = 0
        self.turn { (turn: consuming Turn) in
            code = self.read(chunk, into: &buffer)
            if code == 0 {
                let mask = Self.differing(buffer, chunk, nil)
                buffer.withUnsafeBytes { bytes in
                    var carried = Carried(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<Int(chunk.length)]))
                    turn.step(told(mask), &carried)
                }
            } else {
                turn.step(.localFailed(reason: self.failure("read", code)))
            }
            return turn.finish()
        }
        return code == 0
    }

    /// 0, or the error.
    private func read(_ chunk: Extent, into buffer: inout [UInt8]) -> Int32 {
        buffer.withUnsafeMutableBytes {
            self.store.read(
                offset: chunk.offset, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<Int(chunk.length)]))
        }
    }

    private static func differing(_ buffer: [UInt8], _ chunk: Extent, _ sums: [UInt64]?) -> UInt64 {
        let blocks = Int((chunk.length + Volume.Resync.blockBytes - 1) / Volume.Resync.blockBytes)
        let all: UInt64 = blocks == 64 ? .max : (1 << UInt64(blocks)) - 1
        guard let sums, sums.count == blocks else { return all }
        let own = buffer.withUnsafeBytes {
            BlockDigest.ofEach(UnsafeRawBufferPointer(rebasing: $0[..<Int(chunk.length)]))
        }
        var mask: UInt64 = 0
        for block in 0..<blocks where own[block] != sums[block] { mask |= 1 << UInt64(block) }
        return mask
    }

    /// Moves the blocks in `mask` to the front of the buffer, and calls `body` with them.
    private static func gather(
        _ buffer: inout [UInt8], _ chunk: Extent, _ mask: UInt64, _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        buffer.withUnsafeMutableBytes { bytes in
            var count = 0
            for piece in Self.blocks(of: chunk, mask) {
                let start = Int(piece.offset - chunk.offset)
                let length = Int(piece.length)
                if start != count, let base = bytes.baseAddress { memmove(base + count, base + start, length) }
                count += length
            }
            body(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        }
    }

    // MARK: Time and events

    func runTicks() {
        while true {
            SystemThread.sleep(.milliseconds(100))
            var isStopping = false
            self.turn { (turn: consuming Turn) in
                isStopping = turn.state.isStopping
                if isStopping { return turn.finish() }
                turn.step(.tick)
                turn.dialAgain()
                // Readers that were held at the end of a lease look at it again.
                if turn.state.readers > 0 { turn.wakeReaders() }
                return turn.finish()
            }
            if isStopping { return }
        }
    }

    func runOutbox() {
        var server: NBDServer?
        while let batch = self.outbox.takeAll() {
            for item in batch {
                switch item {
                case .event(let event): self.control.send(event)
                case .stopExport:
                    server?.stop()
                    server = nil
                case .startExport:
                    server?.stop()
                    server = self.startExport()
                }
            }
        }
        server?.stop()
    }

    private func startExport() -> NBDServer? {
        do throws(NBDServerError) {
            let server = try NBDServer(
                device: self, exportName: self.options.volume.rawValue,
                socketPath: self.options.runDirectory + "/nbd", log: self.log)
            server.start()
            return server
        } catch {
            self.log("\(error)")
            self.control.send(.failed(reason: "\(error)"))
            return nil
        }
    }
}
