import Basis

/// A node's certificate as the log knows it: the node says it of itself. Nothing that ownership follows from looks at it.
public struct CertificateRecord: Equatable, Sendable {
    /// SHA-256 of a certificate, 32 bytes.
    public typealias Fingerprint = [UInt8]

    /// Of the certificate.
    public var fingerprint: Fingerprint
    /// Of the authority that signed it.
    public var authority: Fingerprint
    /// From when until when it is meant to be used.
    public var validity: Validity
    /// Of the authorities that the node trusts, sorted.
    public var trusts: [Fingerprint]
    /// Of the authorities whose keys it keeps, sorted.
    public var keys: [Fingerprint]
    /// Why it could not be renewed although its end is near; nil while all is well.
    public var trouble: KeptWords?

    /// All fields.
    public init(
        fingerprint: Fingerprint, authority: Fingerprint, validity: Validity, trusts: [Fingerprint],
        keys: [Fingerprint] = [], trouble: KeptWords? = nil
    ) {
        self.fingerprint = fingerprint
        self.authority = authority
        self.validity = validity
        self.trusts = trusts.sorted { $0.lexicographicallyPrecedes($1) }
        self.keys = keys.sorted { $0.lexicographicallyPrecedes($1) }
        self.trouble = trouble
    }

    /// It says nothing that the other one does not; how somebody words a trouble is no news.
    func says(noMoreThan other: CertificateRecord?) -> Bool {
        guard var other else { return false }
        if self.trouble != nil, other.trouble != nil { other.trouble = self.trouble }
        return self == other
    }

    func encode(into writer: inout ByteWriter) {
        writer.data(self.fingerprint)
        writer.data(self.authority)
        writer.uint64(self.validity.from)
        writer.uint64(self.validity.until)
        writer.list(self.trusts) { $0.data($1) }
        writer.list(self.keys) { $0.data($1) }
        writer.optional(self.trouble) { $0.words($1) }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> CertificateRecord {
        let fingerprint = try reader.data()
        let authority = try reader.data()
        let (from, until) = (try reader.uint64(), try reader.uint64())
        guard from <= until else { throw .invalid(field: "validity of a certificate", offset: reader.offset) }
        return CertificateRecord(
            fingerprint: fingerprint, authority: authority, validity: Validity(from: from, until: until),
            trusts: try reader.list { (reader) throws(CodecError) in try reader.data() },
            keys: try reader.list { (reader) throws(CodecError) in try reader.data() },
            trouble: try reader.optional { (reader) throws(CodecError) in try reader.words() })
    }
}

extension ClusterState {
    /// What a node says of its own certificate.
    mutating func certified(_ node: NodeID, _ record: CertificateRecord, at index: LogIndex) -> Outcome {
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        let before = self.nodes[place].certificate
        self.nodes[place].certificate = record
        let named = self.nodes[place].named
        if let before, before.fingerprint != record.fingerprint {
            self.note(.node(named, .certificateRenewed(until: record.validity.until)), at: index)
        }
        self.settleTwins(ofNodeAt: place, at: index)
        if let trouble = record.trouble, before?.trouble == nil {
            self.note(.node(named, .certificateStuck(until: record.validity.until, trouble)), at: index)
        }
        self.advanceExchange(at: index)
        return .accepted
    }
}
