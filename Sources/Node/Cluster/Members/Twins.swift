import Basis
import Raft

/// One of several machines that say that they are one node: a machine, and a copy of it. (Rule E5)
public struct Twin: Equatable, Sendable {
    /// The boot of the machine.
    public var bootID: String
    /// Where it was heard from: a host, without a port.
    public var host: String
    /// SHA-256 of the certificate that it shows.
    public var fingerprint: CertificateRecord.Fingerprint

    /// All fields; what is no plain word in them is left out.
    public init(bootID: String, host: String, fingerprint: CertificateRecord.Fingerprint) {
        self.bootID = ForeignText.line(bootID, limit: 64)
        self.host = ForeignText.line(host, limit: 64)
        self.fingerprint = fingerprint
    }

    /// `10.0.0.9, boot 1f2e3d4c`, as people are told it.
    package var words: String { "\(self.host), boot \(Self.short(self.bootID))" }

    /// As much of a boot id as people need.
    package static func short(_ bootID: String) -> String { String(bootID.prefix(8)) }

    func encode(into writer: inout ByteWriter) {
        writer.string(self.bootID)
        writer.string(self.host)
        writer.data(self.fingerprint)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Twin {
        Twin(bootID: try reader.string(), host: try reader.string(), fingerprint: try reader.data())
    }
}

/// What the log knows of the machines of one node. While several say that they are it, none runs anything until a person has said
/// which one is it, and that one has a key that the others do not have. (Rule E5)
public struct Twins: Equatable, Sendable {
    /// So many are kept; of more, the latest.
    static let machinesMaximum = 8
    /// So many certificates that open nothing any more are remembered.
    static let revokedMaximum = 16

    /// The machines, the earliest met first; empty while nobody has met two.
    public var machines: [Twin] = []
    /// Cluster time at which two were met.
    public var since: UInt64 = 0
    /// The entry by which the node became one machine again, the last time; zero before.
    public var settledAt = LogIndex.zero
    /// The boot of the machine that a person named.
    public var chosen: String?
    /// Certificates that more than one machine may have: the node is one machine again once it shows another one.
    public var shared: [CertificateRecord.Fingerprint] = []
    /// Certificates of machines that are not the node, the latest last.
    public var revoked: [CertificateRecord.Fingerprint] = []

    /// `10.0.0.1, boot 1f2e3d4c; 10.0.0.9, boot 0a1b2c3d`.
    package static func words(_ twins: [Twin]) -> String { twins.map(\.words).joined(separator: "; ") }

    /// Several machines say that they are this node.
    public var isOpen: Bool { !self.machines.isEmpty }

    /// Whether the machine of this boot, which shows this certificate, is the node and has to get another one.
    package func isToRenew(_ fingerprint: CertificateRecord.Fingerprint, bootID: String) -> Bool {
        self.isOpen && self.chosen == bootID && self.shared.contains(fingerprint)
    }

    /// Takes note of machines.
    mutating func add(_ twins: [Twin], presentBoot: String) {
        for twin in twins {
            self.machines.removeAll { $0.bootID == twin.bootID }
            self.machines.append(twin)
            if !self.shared.contains(twin.fingerprint) { self.shared.append(twin.fingerprint) }
        }
        while self.machines.count > Self.machinesMaximum,
            let place = self.machines.firstIndex(where: { $0.bootID != self.chosen && $0.bootID != presentBoot })
        { self.machines.remove(at: place) }
        if self.shared.count > Self.revokedMaximum {
            self.shared.removeFirst(self.shared.count - Self.revokedMaximum)
        }
    }

    /// The machine that a person named shows what no other one has.
    mutating func settle(at index: LogIndex) {
        self.revoked.removeAll { self.shared.contains($0) }
        self.revoked += self.shared
        if self.revoked.count > Self.revokedMaximum {
            self.revoked.removeFirst(self.revoked.count - Self.revokedMaximum)
        }
        self.machines = []
        self.shared = []
        self.chosen = nil
        self.settledAt = index
    }

    func encode(into writer: inout ByteWriter) {
        writer.list(self.machines) { $1.encode(into: &$0) }
        writer.uint64(self.since)
        writer.uint64(self.settledAt.rawValue)
        writer.optional(self.chosen) { $0.string($1) }
        writer.list(self.shared) { $0.data($1) }
        writer.list(self.revoked) { $0.data($1) }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Twins {
        var twins = Twins()
        twins.machines = try reader.list { (reader) throws(CodecError) in try Twin.decode(from: &reader) }
        twins.since = try reader.uint64()
        twins.settledAt = LogIndex(try reader.uint64())
        twins.chosen = try reader.optional { (reader) throws(CodecError) in try reader.string() }
        twins.shared = try reader.list { (reader) throws(CodecError) in try reader.data() }
        twins.revoked = try reader.list { (reader) throws(CodecError) in try reader.data() }
        return twins
    }
}

/// Which of the machines that say that they are a node is listened to. (Rule E5)
public struct TwinRule: Equatable, Sendable {
    /// The boot of the one whose words are taken; nil: any, because one machine is the node.
    public var only: String?
    /// The machines that the log knows while there are several.
    public var known: [Twin] = []
    /// Certificates that open nothing any more.
    public var revoked: [CertificateRecord.Fingerprint] = []
    /// Tells one finding from the next.
    public var settledAt = LogIndex.zero

    /// Everybody is listened to.
    public init() {}

    /// Whether a certificate opens nothing any more.
    public func isRevoked(_ fingerprint: CertificateRecord.Fingerprint?) -> Bool {
        guard !self.revoked.isEmpty, let fingerprint else { return false }
        return self.revoked.contains(fingerprint)
    }

    /// What follows from the log: the machine that a person named, and before that the one that has the present life, which
    /// must hear what it is to stop.
    init(_ record: ClusterState.NodeRecord) {
        self.only = record.twins.isOpen ? record.twins.chosen ?? record.bootID : nil
        self.known = record.twins.machines
        self.revoked = record.twins.revoked
        self.settledAt = record.twins.settledAt
    }
}

/// What a machine is told that says that it is a node, and is not listened to. (Rule E5)
public struct TwinWord: Equatable, Sendable {
    /// Another machine is the node; else nobody has said yet which one is it.
    public var isDecided: Bool
    /// The machines that the log knows.
    public var machines: [Twin]
    /// The certificate that the machine has shown: who has another one by now is not meant.
    public var shown: CertificateRecord.Fingerprint

    /// All fields.
    public init(isDecided: Bool, machines: [Twin], shown: CertificateRecord.Fingerprint) {
        self.isDecided = isDecided
        self.machines = machines
        self.shown = shown
    }

    /// What follows for the machine that is told.
    package func sentence(says name: String) -> String {
        if self.isDecided {
            return
                "this machine is a copy: \(name) says that another machine is this node, and does not listen to it. Nothing runs "
                + "here; switch it off, or empty its state directory and bring it in as a node of its own with `holdfast join`"
        }
        return
            "\(name) says that several machines are this node (\(Twins.words(self.machines))), and does not listen to this one: "
            + "nothing runs here until a person says which one it is, with `holdfast node original NAME --boot BOOT` on a member"
    }

    /// Appends all fields.
    public func encode(into writer: inout ByteWriter) {
        writer.bool(self.isDecided)
        writer.list(self.machines) { $1.encode(into: &$0) }
        writer.data(self.shown)
    }

    /// Takes what `encode` appended.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> TwinWord {
        TwinWord(
            isDecided: try reader.bool(),
            machines: try reader.list { (reader) throws(CodecError) in try Twin.decode(from: &reader) },
            shown: try reader.data())
    }
}
