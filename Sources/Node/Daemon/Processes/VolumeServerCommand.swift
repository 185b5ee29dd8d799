import Basis
import ClusterConfiguration
import FoundationEssentials
import VolumeServer

/// What the binary does beside talking to a daemon.
public enum Driver {
    private static let volumeServerOptions = [
        "--volume", "--identity", "--node", "--directory", "--run", "--size", "--backing", "--listen", "--peer",
        "--resync-rate", "--former",
    ]

    /// Runs one volume server and does not return: the daemon starts it with the words that `VolumeServerLaunch` makes.
    public static func runVolumeServer(_ words: [String]) throws {
        let options = try HelperOptions(
            words, of: "volume-server", startedBy: "the daemon", known: self.volumeServerOptions)
        let paths = NodePaths(directory: try options.text("--directory"), run: try options.text("--run"))
        let volume = try options.text("--volume")
        try NodePaths.makeDirectory("\(paths.directory)/volumes", mode: 0o700)
        let listen = try self.place(try options.text("--listen"), of: "--listen")
        let peers = try options.all("--peer").map { try self.volumePeer($0) }
        let log = DriverLog()
        RunningProgram.write(Release.present.version, in: "\(paths.run)/volumes/\(volume)")
        // Services write through it: when memory runs out, one of them is to go before it.
        try? "-900".write(toFile: "/proc/self/oom_score_adj", atomically: false, encoding: .utf8)
        try VolumeServer.run(
            VolumeServerOptions(
                volume: VolumeName(volume), volumeIdentity: try options.number("--identity"),
                sizeBytes: try options.number("--size"),
                node: NodeID(try options.number("--node")), backingPath: try options.text("--backing"),
                metadataPath: "\(paths.directory)/volumes/\(volume).meta",
                runDirectory: "\(paths.run)/volumes/\(volume)", leaseFilePath: paths.lease, listenHost: listen.host,
                listenPort: listen.port, peers: peers, tls: paths.identity,
                resyncBytesPerSecond: options["--resync-rate"] == nil ? 0 : try options.number("--resync-rate"),
                formerNodes: try options.all("--former").map { try self.formerNode($0) }),
            log: { log.info("volume \(volume): \($0)") })
    }

    private static func formerNode(_ text: String) throws -> NodeID {
        if let node = UInt32(text) { return NodeID(node) }
        throw DriverError.argument(
            name: "--former", value: text, reason: "it is no node id", remedy: "let the daemon start the server")
    }

    private static func volumePeer(_ text: String) throws -> VolumeServerPeer {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, let node = UInt32(parts[0]) else {
            throw DriverError.argument(
                name: "--peer", value: text, reason: "it is not NODE=HOST:PORT",
                remedy: "let the daemon start the server")
        }
        let place = try self.place(parts[1], of: "--peer")
        return VolumeServerPeer(node: NodeID(node), host: place.host, port: place.port)
    }

    private static func place(_ text: String, of option: String) throws -> (host: String, port: UInt16) {
        if let place = Quantities.hostAndPort(text) { return place }
        throw DriverError.argument(
            name: option, value: text, reason: "it is not HOST:PORT", remedy: "write for example 10.0.0.1:7410")
    }
}
