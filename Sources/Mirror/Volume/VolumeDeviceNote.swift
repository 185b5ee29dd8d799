import Basis

/// What happens to an attached volume that people or counters want to know.
public enum VolumeDeviceNote: Equatable, Sendable, CustomStringConvertible {
    /// The volume has another size, in bytes; its device takes it up.
    case grown(from: UInt64, to: UInt64)
    /// No volume server came back in time: so many requests fail. (Rule V23)
    case requestsFail(Int, after: Span)

    /// A stable name for counters and alerts; never reworded.
    public var identifier: String {
        switch self {
        case .grown: "device.grown"
        case .requestsFail: "device.requests-fail"
        }
    }

    /// How much it matters.
    public var severity: Severity {
        switch self {
        case .grown: .info
        case .requestsFail: .error
        }
    }

    /// One sentence.
    public var description: String {
        switch self {
        case .grown(let before, let after): "the volume has grown from \(before) to \(after) bytes"
        case .requestsFail(let count, let time): "no volume server for \(time): \(count) requests fail"
        }
    }
}
