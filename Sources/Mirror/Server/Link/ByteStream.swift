import Basis
import SecureLink

/// A connection with blocking calls. One thread may read while another writes.
protocol ByteStream: AnyObject, Sendable {
    /// Waits for data; 0 if the peer closed.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
    /// Writes everything, or throws.
    func write(_ buffer: UnsafeRawBufferPointer) throws
    /// Ends the connection and wakes both threads.
    func shutdown()
    /// Bytes a second that the other end lately confirmed; 0 if unknown.
    var deliveryRate: UInt64 { get }
}

extension TLSStream: ByteStream {}

/// Why a connection between replicas was given up.
enum LinkError: Error, Equatable, CustomStringConvertible {
    /// Bytes that are no frame.
    case notAFrame
    /// A frame of a version that this release does not read.
    case foreignVersion(UInt32)
    /// A checksum that does not fit.
    case damaged
    /// A frame that the protocol does not allow here.
    case unexpected(String)

    var description: String {
        switch self {
        case .notAFrame:
            "the peer sent something that is not a frame; run the same release on both nodes"
        case .foreignVersion(let found):
            "the peer speaks \(Format.mirrorFrame.flaw(found)); run the same release on both nodes"
        case .damaged: "a frame arrived damaged; if this repeats, check memory and network hardware of both nodes"
        case .unexpected(let what): "the peer sent \(what)"
        }
    }
}
