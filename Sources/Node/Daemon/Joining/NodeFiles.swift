import Basis
import Cluster
import FoundationEssentials
import Glibc
import Host
import Reports
import SecureLink

/// Why the daemon or a command around it cannot go on.
enum DriverError: Error, Equatable, CustomStringConvertible {
    /// The directory holds no node.
    case notInitialised(directory: String)
    /// The directory holds one already.
    case alreadyInitialised(directory: String)
    /// An `init` or `join` ended halfway.
    case halfInitialised(directory: String)
    /// A file cannot be read or written.
    case file(path: String, reason: String, remedy: String)
    /// An argument makes no sense.
    case argument(name: String, value: String, reason: String, remedy: String)
    /// Something on the way to the other node.
    case joinFailed(address: String, reason: String, remedy: String)

    /// Another node gave no certificate.
    case notCertified(address: String, reason: String, remedy: String)

    /// What happened, where, and what to do next.
    var description: String {
        switch self {
        case .notInitialised(let directory):
            "\(directory) holds no node yet; run `holdfast init` on the first node and `holdfast join` on the others, "
                + "or name the right directory with --directory"
        case .alreadyInitialised(let directory):
            "\(directory) holds a node already; nothing was changed. Start it with `holdfast daemon`, or choose another "
                + "--directory"
        case .halfInitialised(let directory):
            "\(directory) holds the rest of an `init` or `join` that did not finish; remove what is in it, then try again"
        case .file(let path, let reason, let remedy): "\(path): \(reason); \(remedy)"
        case .argument(let name, let value, let reason, let remedy): "\(name) \(value): \(reason); \(remedy)"
        case .notCertified(let address, let reason, let remedy): "\(address) gave no certificate: \(reason); \(remedy)"
        case .joinFailed(let address, let reason, let remedy): "joining at \(address) failed: \(reason); \(remedy)"
        }
    }
}

/// Where a node keeps its files.
struct NodePaths: Equatable, Sendable {
    /// What must survive a reboot.
    var directory: String
    /// What must not.
    var run: String

    var nodeFile: String { self.directory + "/node.json" }
    var tls: String { self.directory + "/tls" }
    var authority: String { self.tls + "/ca.crt" }
    var authorityKey: String { self.tls + "/ca.key" }
    var certificate: String { self.tls + "/node.crt" }
    var key: String { self.tls + "/node.key" }
    /// Certificate and key in one file, since they were renewed.
    var renewed: String { self.tls + "/node.pem" }
    var log: String { self.directory + "/log" }
    var generation: String { self.directory + "/generation.json" }
    var joinTokens: String { self.directory + "/tokens.json" }
    var socket: String { self.run + "/api.sock" }
    var lease: String { self.run + "/lease" }
    var facts: String { self.run + "/facts.json" }
    var progress: String { self.run + "/log-progress" }
    var identity: TLSIdentity {
        TLSIdentity(
            certificateAuthorityPath: self.authority, certificatePath: self.certificate, keyPath: self.key,
            renewedPath: self.renewed)
    }

    func control(ofVolume name: VolumeName) -> String { "\(self.run)/volumes/\(name.rawValue)/control" }

    /// Creates both directories and `tls`, the latter for the daemon's user alone.
    func create() throws(DriverError) {
        try Self.makeDirectory(self.directory, mode: 0o700)
        try Self.makeDirectory(self.tls, mode: 0o700)
    }

    /// Takes back what `create` made, as far as nothing lies in it.
    func removeEmpty() {
        rmdir(self.tls)
        rmdir(self.directory)
    }

    static func makeDirectory(_ path: String, mode: mode_t) throws(DriverError) {
        var code = Files.makeDirectory(path, mode: mode)
        // One that was there already may be open to all.
        if code == nil, mode == 0o700, chmod(path, mode) != 0 { code = errno }
        if let code {
            throw .file(
                path: path, reason: "it cannot be created (\(SystemText.error(code)))",
                remedy: "run the command as root, or choose another directory")
        }
    }
}

/// `node.json`: who this node is, written by `init` or `join`; the daemon keeps the list of peers up to date.
struct NodeFile: Codable, Equatable, Sendable {
    /// A node to talk to before the log has told who the nodes are.
    struct Peer: Codable, Equatable, Sendable {
        var node: UInt32
        var name: String
        var address: String
    }
    /// The version of this form.
    var version = Format.nodeFile.version
    var cluster: String
    /// 16 hexadecimal digits.
    var clusterID: String
    var node: UInt32
    var name: String
    var site: String
    /// Where the daemon listens and its peers reach it, `HOST:PORT`.
    var address: String
    var role: NodeReport.Role
    var peers: [Peer]
    /// The address was given here, by `holdfast listen`, and the cluster is to be told.
    var announces: Bool?

    var id: NodeID { NodeID(self.node) }
    var seeds: [PeerSpec] { self.peers.map { PeerSpec(node: NodeID($0.node), name: $0.name, address: $0.address) } }

    /// Reads the file of an initialised directory.
    static func read(_ paths: NodePaths) throws(DriverError) -> NodeFile {
        guard FileManager.default.fileExists(atPath: paths.nodeFile) else {
            throw FileManager.default.fileExists(atPath: paths.log)
                ? .halfInitialised(directory: paths.directory) : .notInitialised(directory: paths.directory)
        }
        let remedy = "restore it from a backup, or join this node again"
        guard let data = FileManager.default.contents(atPath: paths.nodeFile) else {
            throw .file(path: paths.nodeFile, reason: "it cannot be read", remedy: "run the command as root")
        }
        if let flaw = VersionedFile.flaw(of: .nodeFile, data, path: paths.nodeFile) { throw flaw }
        do {
            return try JSONDecoder().decode(NodeFile.self, from: data)
        } catch {
            throw .file(path: paths.nodeFile, reason: "it is damaged (\(error))", remedy: remedy)
        }
    }

    /// Writes the file durably: from then on the directory is initialised.
    func write(_ paths: NodePaths) throws(DriverError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            let data = try encoder.encode(self)
            try PEMFile.write(String(decoding: data, as: UTF8.self) + "\n", to: paths.nodeFile, isSecret: false)
        } catch {
            throw .file(path: paths.nodeFile, reason: "\(error)", remedy: "check the disk")
        }
    }

    /// Refuses a directory that holds a node, or part of one.
    static func requireFresh(_ paths: NodePaths) throws(DriverError) {
        if FileManager.default.fileExists(atPath: paths.nodeFile) {
            throw .alreadyInitialised(directory: paths.directory)
        }
        if FileManager.default.fileExists(atPath: paths.log) || FileManager.default.fileExists(atPath: paths.authority)
        {
            throw .halfInitialised(directory: paths.directory)
        }
    }
}

extension HostPort {
    /// The same place with a numeric address in its usual form, or a name in lower case.
    var canonical: HostPort {
        var place = self
        place.host = NodeAddress.canonical(host: self.host)
        return place
    }

    /// Takes an argument apart, or says what is wrong with it.
    static func argument(_ name: String, _ text: String) throws(DriverError) -> HostPort {
        guard let value = HostPort(text) else {
            throw .argument(
                name: name, value: text, reason: "this is not HOST:PORT",
                remedy: "write it like 10.0.0.1:7400 or [fd00::1]:7400")
        }
        return value
    }
}
