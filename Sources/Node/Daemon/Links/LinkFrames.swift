import Basis
import SecureLink

/// Frames between nodes: a 32-bit count, then that many bytes.
enum LinkFrames {
    /// No frame is longer; a snapshot travels in chunks far below.
    static let bytesMaximum = 16 << 20
    /// The most that a client without a certificate may send in one frame.
    static let joinBytesMaximum = 64 << 10

    /// A frame around `body`.
    static func append(_ body: [UInt8], to buffer: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(body.count).littleEndian) { buffer.append(contentsOf: $0) }
        buffer.append(contentsOf: body)
    }

    /// Sends one frame.
    static func write(_ body: [UInt8], to stream: TLSStream) throws(SecureLinkError) {
        var buffer: [UInt8] = []
        buffer.reserveCapacity(body.count + 4)
        self.append(body, to: &buffer)
        try self.send(buffer, to: stream)
    }

    /// Sends bytes that hold whole frames.
    static func send(_ buffer: [UInt8], to stream: TLSStream) throws(SecureLinkError) {
        let result = buffer.withUnsafeBytes { bytes -> SecureLinkError? in
            do throws(SecureLinkError) {
                try stream.write(bytes)
                return nil
            } catch {
                return error
            }
        }
        if let result { throw result }
    }
}

/// Takes frames off a stream, with few reads.
struct LinkReader {
    private let stream: TLSStream
    private let limit: Int
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)
    private var start = 0
    private var end = 0

    init(_ stream: TLSStream, limit: Int = LinkFrames.bytesMaximum) {
        self.stream = stream
        self.limit = limit
    }

    /// The next frame; nil when the peer closed between two frames.
    mutating func next() throws(SecureLinkError) -> [UInt8]? {
        guard try self.fill(4) else { return nil }
        let count = (0..<4).reduce(0) { $0 | Int(self.buffer[self.start + $1]) << (8 * $1) }
        guard count <= self.limit else {
            throw .broken(peer: self.stream.peerAddress, reason: "it announced a frame of \(count) bytes")
        }
        self.start += 4
        guard try self.fill(count) else { return nil }
        defer { self.start += count }
        return Array(self.buffer[self.start..<self.start + count])
    }

    /// Reads until `count` bytes are there; false when the peer closed before.
    private mutating func fill(_ count: Int) throws(SecureLinkError) -> Bool {
        while self.end - self.start < count {
            if self.start > 0 {
                self.buffer.replaceSubrange(0..<self.end - self.start, with: Array(self.buffer[self.start..<self.end]))
                self.end -= self.start
                self.start = 0
            }
            if self.buffer.count < count {
                self.buffer.append(contentsOf: repeatElement(0, count: count - self.buffer.count))
            }
            let from = self.end
            let stream = self.stream
            let result = self.buffer.withUnsafeMutableBytes { bytes -> Result<Int, SecureLinkError> in
                do throws(SecureLinkError) {
                    return .success(try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[from...])))
                } catch {
                    return .failure(error)
                }
            }
            let taken = try result.get()
            if taken == 0 { return false }
            self.end += taken
        }
        return true
    }
}
