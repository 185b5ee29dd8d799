/// What of its agreements a cluster has raised: what newer releases add to the log is written at a higher level only, and every
/// node of the cluster must be able to do it. (Rule U1)
public struct FeatureLevel: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible {
    /// Counts from 1, the level of the builds that knew of none.
    public let rawValue: UInt32
    /// Wraps a number.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Wraps a number.
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// What every build can do.
    public static let first = FeatureLevel(1)

    /// By number.
    public static func < (left: FeatureLevel, right: FeatureLevel) -> Bool { left.rawValue < right.rawValue }
    /// The number.
    public var description: String { "\(self.rawValue)" }
}

/// What a program of the product is: the one place for both numbers.
public struct Release: Equatable, Sendable {
    /// As `--version` says it.
    public var version: String
    /// The highest feature level that it can do; it can do all below.
    public var level: FeatureLevel

    /// Both fields.
    public init(version: String, level: FeatureLevel) {
        self.version = version
        self.level = level
    }

    /// This build.
    public static let present = Release(version: "0.2.0", level: FeatureLevel(3))
}
