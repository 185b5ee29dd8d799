import Basis
import Glibc
import Host

/// One client: a thread that shakes hands with it and then serves an `NBDSession`.
final class NBDConnection: Sendable {
    private let device: any BlockDevice
    private let limits: NBDLimits
    private let descriptor: Int32
    private let output: NBDOutput
    private let sizeBytes: UInt64

    /// Takes over the socket.
    init(device: any BlockDevice, descriptor: Int32, limits: NBDLimits) {
        self.device = device
        self.limits = limits
        self.descriptor = descriptor
        self.sizeBytes = device.sizeBytes
        self.output = NBDOutput(descriptor: descriptor, maximumInFlight: limits.maximumInFlight)
    }

    /// Ends the connection from any thread; `run` then returns.
    func close() { self.output.close() }

    /// Serves the client until it leaves; the reason if it was dropped.
    func run(exportName: String) -> NBDDrop? {
        self.output.adopt()
        defer { self.output.release() }
        do throws(NBDDrop) {
            let input = NBDInput(descriptor: self.descriptor, maximumPayload: Int(self.limits.maximumPayload))
            SystemSocket.limit(self.descriptor, SO_SNDTIMEO, .seconds(10))
            var handshake = NBDHandshake(
                input: input, descriptor: self.descriptor, exportName: exportName, sizeBytes: self.sizeBytes,
                maximumPayload: self.limits.maximumPayload,
                deadline: MachineClock.now + self.limits.handshakeTimeout)
            guard let agreement = try handshake.run() else { return nil }
            SystemSocket.limit(self.descriptor, SO_SNDTIMEO, .zero)
            let session = NBDSession(
                device: self.device, limits: self.limits, output: self.output, sizeBytes: self.sizeBytes, agreement)
            try session.serve(input)
            return nil
        } catch {
            return error
        }
    }
}

/// What one client asks after the handshake: reads requests, hands them to the device and sends replies. For one thread.
private final class NBDSession {
    private let device: any BlockDevice
    private let limits: NBDLimits
    private let output: NBDOutput
    private let sizeBytes: UInt64
    private let agreement: NBDHandshake.Agreement
    /// Read data on its way to the client; grows to the largest read.
    private var scratch = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    init(
        device: any BlockDevice, limits: NBDLimits, output: NBDOutput, sizeBytes: UInt64,
        _ agreement: NBDHandshake.Agreement
    ) {
        self.device = device
        self.limits = limits
        self.output = output
        self.sizeBytes = sizeBytes
        self.agreement = agreement
    }

    deinit { self.scratch.deallocate() }

    func serve(_ input: NBDInput) throws(NBDDrop) {
        while try self.need(NBD.requestBytes, input) {
            let request = NBDRequest(input.bytes(NBD.requestBytes))
            guard request.magic == NBD.requestMagic else {
                throw NBDDrop(reason: "it sent a request with a wrong magic number")
            }
            switch request.command {
            case NBD.Command.write:
                guard try self.write(request, input) else { return }
            case NBD.Command.disconnect:
                input.consume(NBD.requestBytes)
                self.output.drain()
                return
            default:
                input.consume(NBD.requestBytes)
                self.handle(request)
            }
        }
    }

    /// Makes `count` bytes available, after sending what the client may be waiting for. False if the client has left.
    private func need(_ count: Int, _ input: NBDInput) throws(NBDDrop) -> Bool {
        if input.available >= count { return true }
        self.output.flush()
        switch input.fill(count) {
        case .ready: return true
        case .ended where input.available == 0: return false
        case .ended: throw NBDDrop(reason: "it left in the middle of a request")
        case .failed(ECONNRESET): return false
        case .failed(let code): throw NBDDrop(reason: "receiving failed (errno \(code))")
        case .timedOut: return false
        }
    }

    /// A write; false if the client has left.
    private func write(_ request: NBDRequest, _ input: NBDInput) throws(NBDDrop) -> Bool {
        let length = Int(request.length)
        guard let error = self.refusal(of: request) else {
            guard try self.need(NBD.requestBytes + length, input), self.output.begin() else { return false }
            self.device.write(
                offset: request.offset, data: input.bytes(length, after: NBD.requestBytes),
                durable: request.flags & NBD.Flag.fua != 0, cookie: request.cookie, sink: self.output)
            input.consume(NBD.requestBytes + length)
            return true
        }
        input.consume(NBD.requestBytes)
        self.output.flush()
        guard input.skip(length) == .ready else { throw NBDDrop(reason: "it left in the middle of a write") }
        self.output.reply(cookie: request.cookie, error: error)
        return true
    }

    /// Everything that carries no payload.
    private func handle(_ request: NBDRequest) {
        if let error = self.refusal(of: request) { return self.fail(request, error) }
        let durable = request.flags & NBD.Flag.fua != 0
        switch request.command {
        case NBD.Command.read: self.read(request)
        case NBD.Command.blockStatus: self.blockStatus(request)
        case NBD.Command.cache: self.output.reply(cookie: request.cookie, error: BlockError.none)
        case NBD.Command.flush:
            if self.output.begin() { self.device.flush(cookie: request.cookie, sink: self.output) }
        case NBD.Command.trim, NBD.Command.writeZeroes:
            guard request.flags & NBD.Flag.fastZero == 0 else { return self.fail(request, BlockError.notSupported) }
            guard self.output.begin() else { return }
            self.device.zero(
                offset: request.offset, length: UInt64(request.length),
                mayTrim: request.flags & NBD.Flag.noHole == 0, durable: durable, cookie: request.cookie,
                sink: self.output)
        default: self.fail(request, BlockError.invalid)
        }
    }

    /// The error for a request that the device must not see.
    private func refusal(of request: NBDRequest) -> UInt32? {
        let flags = request.flags & ~NBD.Flag.fua
        let fits = request.length > 0 && request.fits(in: self.sizeBytes)
        switch request.command {
        case NBD.Command.read:
            let allowed = self.agreement.usesStructuredReplies ? NBD.Flag.df : 0
            guard flags & ~allowed == 0, fits else { return BlockError.invalid }
            if request.length <= self.limits.maximumPayload { return nil }
            return flags & NBD.Flag.df != 0 ? BlockError.overflow : BlockError.invalid
        case NBD.Command.write:
            guard flags == 0, request.length > 0, request.length <= self.limits.maximumPayload else {
                return BlockError.invalid
            }
            return fits ? nil : BlockError.noSpace
        case NBD.Command.writeZeroes:
            guard flags & ~(NBD.Flag.noHole | NBD.Flag.fastZero) == 0, request.length > 0 else {
                return BlockError.invalid
            }
            return fits ? nil : BlockError.noSpace
        case NBD.Command.trim, NBD.Command.cache: return flags == 0 && fits ? nil : BlockError.invalid
        case NBD.Command.flush: return flags == 0 ? nil : BlockError.invalid
        case NBD.Command.blockStatus:
            let isValid = self.agreement.usesAllocationContext && flags & ~NBD.Flag.reqOne == 0 && fits
            return isValid ? nil : BlockError.invalid
        default: return BlockError.invalid
        }
    }

    /// Replies with an error in the form that the command calls for.
    private func fail(_ request: NBDRequest, _ error: UInt32) {
        let needsChunk = request.command == NBD.Command.read || request.command == NBD.Command.blockStatus
        guard self.agreement.usesStructuredReplies, needsChunk else {
            return self.output.reply(cookie: request.cookie, error: error)
        }
        var chunk = NBDMessage.chunk(type: NBD.Chunk.error, isLast: true, cookie: request.cookie, length: 6)
        chunk.put(error)
        chunk.put(UInt16(0))
        self.append(chunk)
    }

    private func append(_ message: NBDMessage) {
        message.bytes.withUnsafeBytes { self.output.append($0, UnsafeRawBufferPointer(start: nil, count: 0)) }
    }

    private func scratch(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if self.scratch.count < count {
            self.scratch.deallocate()
            self.scratch = .allocate(byteCount: max(count, 64 * 1024), alignment: 4096)
        }
        return UnsafeMutableRawBufferPointer(rebasing: self.scratch[..<count])
    }
}

extension NBDSession {
    /// Reads shorter than this are sent whole: looking for holes would cost more than it saves.
    private static let holeSearchBytes: UInt32 = 64 * 1024

    private func read(_ request: NBDRequest) {
        guard self.agreement.usesStructuredReplies else { return self.simpleRead(request) }
        guard request.length >= Self.holeSearchBytes else {
            return self.dataChunk(request, offset: request.offset, length: request.length, isLast: true)
        }
        let runs = self.zeroRuns(request)
        if request.flags & NBD.Flag.df != 0 || runs.count == 1 {
            if runs.count == 1, runs[0].isZero {
                return self.holeChunk(request, offset: request.offset, length: request.length, isLast: true)
            }
            return self.dataChunk(request, offset: request.offset, length: request.length, isLast: true)
        }
        var offset = request.offset
        for (position, run) in runs.enumerated() {
            let isLast = position == runs.count - 1
            if run.isZero {
                self.holeChunk(request, offset: offset, length: run.length, isLast: isLast)
            } else if !self.dataRun(request, offset: offset, length: run.length, isLast: isLast) {
                return
            }
            offset += UInt64(run.length)
        }
    }

    private func simpleRead(_ request: NBDRequest) {
        let target = self.scratch(Int(request.length))
        let error = self.device.read(offset: request.offset, into: target)
        guard error == BlockError.none else { return self.fail(request, error) }
        withUnsafeTemporaryAllocation(byteCount: NBD.simpleReplyBytes, alignment: 8) { header in
            header.storeBytes(of: NBD.simpleReplyMagic.bigEndian, as: UInt32.self)
            header.storeBytes(of: UInt32(0), toByteOffset: 4, as: UInt32.self)
            header.storeBytes(of: request.cookie.bigEndian, toByteOffset: 8, as: UInt64.self)
            self.output.append(UnsafeRawBufferPointer(header), UnsafeRawBufferPointer(target))
        }
    }

    private func dataChunk(_ request: NBDRequest, offset: UInt64, length: UInt32, isLast: Bool) {
        _ = self.dataRun(request, offset: offset, length: length, isLast: isLast)
    }

    /// One OFFSET_DATA chunk; on a device error a final error chunk instead, and false.
    private func dataRun(_ request: NBDRequest, offset: UInt64, length: UInt32, isLast: Bool) -> Bool {
        let target = self.scratch(Int(length))
        let error = self.device.read(offset: offset, into: target)
        guard error == BlockError.none else {
            self.fail(request, error)
            return false
        }
        withUnsafeTemporaryAllocation(byteCount: NBD.chunkHeaderBytes + 8, alignment: 8) { header in
            header.storeBytes(of: NBD.structuredReplyMagic.bigEndian, as: UInt32.self)
            header.storeBytes(of: (isLast ? NBD.Chunk.done : 0).bigEndian, toByteOffset: 4, as: UInt16.self)
            header.storeBytes(of: NBD.Chunk.offsetData.bigEndian, toByteOffset: 6, as: UInt16.self)
            header.storeBytes(of: request.cookie.bigEndian, toByteOffset: 8, as: UInt64.self)
            header.storeBytes(of: (length + 8).bigEndian, toByteOffset: 16, as: UInt32.self)
            header.storeBytes(of: offset.bigEndian, toByteOffset: 20, as: UInt64.self)
            self.output.append(UnsafeRawBufferPointer(header), UnsafeRawBufferPointer(target))
        }
        return true
    }

    private func holeChunk(_ request: NBDRequest, offset: UInt64, length: UInt32, isLast: Bool) {
        var chunk = NBDMessage.chunk(type: NBD.Chunk.offsetHole, isLast: isLast, cookie: request.cookie, length: 12)
        chunk.put(offset)
        chunk.put(length)
        self.append(chunk)
    }

    /// The request's range as alternating runs of zeroes and of data, exactly covering it.
    private func zeroRuns(_ request: NBDRequest) -> [(length: UInt32, isZero: Bool)] {
        var runs: [(length: UInt32, isZero: Bool)] = []
        var left = request.length
        for extent in self.device.extents(offset: request.offset, length: UInt64(request.length)) where left > 0 {
            let length = UInt32(min(extent.length, UInt64(left)))
            if length == 0 { continue }
            if let last = runs.last, last.isZero == extent.isZero {
                runs[runs.count - 1].length += length
            } else {
                runs.append((length, extent.isZero))
            }
            left -= length
        }
        if left > 0 { runs.append((left, false)) }
        return runs
    }

    private func blockStatus(_ request: NBDRequest) {
        var extents: [(length: UInt32, flags: UInt32)] = []
        var left = request.length
        let isOne = request.flags & NBD.Flag.reqOne != 0
        for extent in self.device.extents(offset: request.offset, length: UInt64(request.length)) where left > 0 {
            let length = UInt32(min(extent.length, UInt64(left)))
            if length == 0 { continue }
            let flags: UInt32 = (extent.isHole ? 1 : 0) | (extent.isZero ? 2 : 0)
            if let last = extents.last, last.flags == flags {
                extents[extents.count - 1].length += length
            } else {
                if isOne && extents.count == 1 || extents.count == self.limits.maximumExtents { break }
                extents.append((length, flags))
            }
            left -= length
        }
        // At least one extent is required; the device is allowed to know nothing.
        if extents.isEmpty { extents.append((request.length, 0)) }
        var chunk = NBDMessage.chunk(
            type: NBD.Chunk.blockStatus, isLast: true, cookie: request.cookie, length: 4 + 8 * extents.count)
        chunk.put(NBD.allocationContextID)
        for extent in extents {
            chunk.put(extent.length)
            chunk.put(extent.flags)
        }
        self.append(chunk)
    }
}
