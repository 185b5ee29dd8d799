import Basis

/// What a node runs of the product: its daemon, and what outlived an earlier one. Nothing that ownership follows from looks at it.
public struct NodePrograms: Equatable, Sendable {
    /// A process that outlives the daemon that started it.
    public struct Helper: Equatable, Sendable {
        /// The version that it says it is; nil from a build that does not say it.
        public var version: String?
        /// It runs the very file that the daemon runs.
        public var isPresent: Bool
        /// Both fields.
        public init(version: String?, isPresent: Bool) {
            self.version = version.map { ForeignText.line($0, limit: 60) }
            self.isPresent = isPresent
        }
    }
    /// The server of one volume.
    public struct Server: Equatable, Sendable {
        /// The volume.
        public var volume: VolumeName
        /// Its server.
        public var helper: Helper
    }

    /// The daemon.
    public var daemon: Release
    /// The guard; nil on a witness, and before it was seen.
    public var guardian: Helper?
    /// The volume servers that answer, sorted by volume.
    public var servers: [Server]

    func encode(into writer: inout ByteWriter) {
        writer.string(self.daemon.version)
        writer.uint32(self.daemon.level.rawValue)
        writer.optional(self.guardian) { $1.encode(into: &$0) }
        writer.list(self.servers) { writer, server in
            writer.string(server.volume.rawValue)
            server.helper.encode(into: &writer)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> NodePrograms {
        NodePrograms(
            daemon: Release(
                version: ForeignText.line(try reader.string(), limit: 60), level: FeatureLevel(try reader.uint32())),
            guardian: try reader.optional { (reader) throws(CodecError) in try Helper.decode(from: &reader) },
            servers: try reader.list { (reader) throws(CodecError) in
                Server(volume: VolumeName(try reader.string()), helper: try Helper.decode(from: &reader))
            })
    }
}

extension NodePrograms.Helper {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.optional(self.version) { $0.string($1) }
        writer.bool(self.isPresent)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        Self(
            version: try reader.optional { (reader) throws(CodecError) in try reader.string() },
            isPresent: try reader.bool())
    }
}
