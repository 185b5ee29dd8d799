import Basis

/// Which authorities the cluster trusts, once another one was ever put in the place of the first. (Rule I2)
public struct Authorities: Equatable, Sendable {
    /// A certificate authority: its key is in no log.
    public struct Authority: Equatable, Sendable {
        /// SHA-256 of its certificate, 32 bytes.
        public var fingerprint: CertificateRecord.Fingerprint
        /// Its certificate, PEM. Each node compares it with the fingerprint before it trusts it.
        public var certificate: String
        /// The beginning of the fingerprint, for people.
        public var name: String {
            self.fingerprint.prefix(6).map { UInt64($0).hexadecimal(digits: 2) }.joined()
        }
        /// Both fields.
        public init(fingerprint: CertificateRecord.Fingerprint, certificate: String) {
            self.fingerprint = fingerprint
            self.certificate = certificate
        }
    }
    /// One that takes the place of the present one.
    public struct Exchange: Equatable, Sendable {
        /// The one that comes.
        public var next: Authority
        /// Every node trusts it, but those that are not waited for: certificates are of it from here on.
        public var isTrusted = false
        /// Nodes that a person gave up: they are locked out unless they come in time. Sorted.
        public var without: [NodeID] = []
    }
    /// What a person wants.
    public enum Change: Equatable, Sendable {
        /// `next` is to take the place of `present`.
        case begin(present: Authority, next: Authority)
        /// Not to wait for these nodes, sorted.
        case without(CertificateRecord.Fingerprint, [NodeID])
        /// No longer.
        case cancel(CertificateRecord.Fingerprint)
    }

    /// The one that is there for good; nil before the first exchange.
    public internal(set) var present: Authority?
    /// The exchange under way.
    public internal(set) var exchange: Exchange?

    /// None is known.
    public init() {}

    /// The authority that certificates are to be of; nil: any that is trusted.
    public var wanted: Authority? {
        if let exchange = self.exchange, exchange.isTrusted { return exchange.next }
        return self.present
    }

    /// What each node trusts; empty: what it has trusted since it joined.
    public var trusted: [Authority] { [self.present, self.exchange?.next].compactMap { $0 } }

    /// A certificate is a few hundred bytes.
    static let certificateMaximum = 8192
}

extension ClusterState {
    /// The nodes that the exchange waits for at its present step, sorted: to trust the authority that comes, or to have a
    /// certificate of it.
    public var awaitedByExchange: [NodeRecord] {
        guard let exchange = self.authorities.exchange else { return [] }
        return self.nodes.filter { record in
            guard !exchange.without.contains(record.id) else { return false }
            guard let certificate = record.certificate else { return true }
            return exchange.isTrusted
                ? certificate.authority != exchange.next.fingerprint
                : !certificate.trusts.contains(exchange.next.fingerprint)
        }
    }

    /// Whether the key of the authority that comes is on two members, or on the only one there is: one machine's end loses it not.
    public var isNextKeySafe: Bool {
        guard let exchange = self.authorities.exchange else { return false }
        let members = self.nodes.filter { $0.about.role == .member && !exchange.without.contains($0.id) }
        let keepers = members.filter { $0.certificate?.keys.contains(exchange.next.fingerprint) == true }
        return !keepers.isEmpty && keepers.count >= min(2, members.count)
    }

    /// Why the authority cannot be changed so; nil if it can.
    public func objection(toChanging change: Authorities.Change) -> Refusal? {
        switch change {
        case .begin(let present, let next):
            if let exchange = self.authorities.exchange {
                return .unfit("another authority is coming already (\(exchange.next.name))")
            }
            if let known = self.authorities.present, known.fingerprint != present.fingerprint {
                return .over("the authority \(present.name) is not the present one any more")
            }
            let isSound = [present, next].allSatisfy { authority in
                authority.fingerprint.count == 32
                    && (1...Authorities.certificateMaximum).contains(authority.certificate.utf8.count)
            }
            return isSound && present.fingerprint != next.fingerprint ? nil : "the authority makes no sense"
        case .without(let fingerprint, let nodes):
            guard let exchange = self.authorities.exchange, exchange.next.fingerprint == fingerprint else {
                return .over("no such authority is coming")
            }
            if let unknown = nodes.first(where: { self.node($0) == nil }) { return .unknown(.node(unknown)) }
            let rest = self.nodes.filter { !nodes.contains($0.id) && !exchange.without.contains($0.id) }
            let hasKeeper = rest.contains { $0.certificate?.keys.contains(fingerprint) == true }
            return hasKeeper ? nil : "nobody would be left who keeps the key of the authority that comes"
        case .cancel(let fingerprint):
            guard let exchange = self.authorities.exchange, exchange.next.fingerprint == fingerprint else {
                return .over("no such authority is coming")
            }
            return exchange.isTrusted
                ? "every node trusts the authority that comes, and some have certificates of it: it can only go on"
                : nil
        }
    }

    mutating func changeAuthority(_ change: Authorities.Change, at index: LogIndex) -> Outcome {
        if let objection = self.objection(toChanging: change) { return .refused(objection) }
        switch change {
        case .begin(let present, let next):
            self.authorities.present = present
            self.authorities.exchange = Authorities.Exchange(next: next)
            self.note(.cluster(.authorityComes(KeptWords(next.name))), at: index)
        case .without(_, let nodes):
            guard var exchange = self.authorities.exchange else { return .refused(.over("no authority is coming")) }
            exchange.without = (exchange.without + nodes.filter { !exchange.without.contains($0) }).sorted()
            self.authorities.exchange = exchange
            for node in nodes { self.note(.node(self.named(node), .authorityWithout), at: index) }
        case .cancel:
            guard let exchange = self.authorities.exchange else { return .refused(.over("no authority is coming")) }
            self.authorities.exchange = nil
            self.note(.cluster(.authorityStays(KeptWords(exchange.next.name))), at: index)
        }
        self.advanceExchange(at: index)
        return .accepted
    }

    /// Rule I2: each step begins when every node has said that it has done the one before, in the entry of the last such word.
    mutating func advanceExchange(at index: LogIndex) {
        guard var exchange = self.authorities.exchange, self.awaitedByExchange.isEmpty else { return }
        if !exchange.isTrusted {
            guard self.isNextKeySafe else { return }
            exchange.isTrusted = true
            self.authorities.exchange = exchange
            self.note(.cluster(.authorityTrusted(KeptWords(exchange.next.name))), at: index)
            // With nobody left to renew it would be over at once.
            return self.advanceExchange(at: index)
        }
        self.authorities.present = exchange.next
        self.authorities.exchange = nil
        self.note(.cluster(.authorityExchanged(KeptWords(exchange.next.name))), at: index)
    }
}

extension Authorities {
    func encode(into writer: inout ByteWriter) {
        writer.optional(self.present) { $1.encode(into: &$0) }
        writer.optional(self.exchange) { writer, exchange in
            exchange.next.encode(into: &writer)
            writer.bool(exchange.isTrusted)
            writer.list(exchange.without) { $0.node($1) }
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Authorities {
        var authorities = Authorities()
        authorities.present = try reader.optional { (reader) throws(CodecError) in try Authority.decode(from: &reader) }
        authorities.exchange = try reader.optional { (reader) throws(CodecError) in
            Exchange(
                next: try Authority.decode(from: &reader), isTrusted: try reader.bool(),
                without: try reader.list { (reader) throws(CodecError) in try reader.node() })
        }
        return authorities
    }
}

extension Authorities.Authority {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.data(self.fingerprint)
        writer.string(self.certificate)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        Self(fingerprint: try reader.data(), certificate: try reader.string())
    }
}

extension Authorities.Change {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .begin(let present, let next):
            writer.uint8(0)
            present.encode(into: &writer)
            next.encode(into: &writer)
        case .without(let fingerprint, let nodes):
            writer.uint8(1)
            writer.data(fingerprint)
            writer.list(nodes) { $0.node($1) }
        case .cancel(let fingerprint):
            writer.uint8(2)
            writer.data(fingerprint)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        switch try reader.uint8() {
        case 0: return .begin(present: try .decode(from: &reader), next: try .decode(from: &reader))
        case 1:
            return .without(
                try reader.data(), try reader.list { (reader) throws(CodecError) in try reader.node() })
        case 2: return .cancel(try reader.data())
        default: throw .invalid(field: "change of the authority", offset: reader.offset)
        }
    }
}
