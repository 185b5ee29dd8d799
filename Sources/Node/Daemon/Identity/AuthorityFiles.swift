import Basis
import Cluster
import FoundationEssentials
import Glibc
import Host
import SecureLink

/// Whether an authority is being made here, so that nobody takes its key for one that the log does not know any more.
struct AuthorityMaking: Sendable {
    /// Grows when one begins, and when it is done with.
    private(set) var count: UInt64 = 0

    /// False while another one is under way.
    mutating func begin() -> Bool {
        guard self.count.isMultiple(of: 2) else { return false }
        self.count += 1
        return true
    }

    /// The log has heard of it, or never will.
    mutating func end() { self.count += 1 }

    /// Whether what was looked at when the count was this knows of all keys that were made since.
    func isQuiet(since count: UInt64) -> Bool { self.count == count && count.isMultiple(of: 2) }
}

/// The files of the authorities that this node trusts, and their keys where it is a member, made what the log says. (Rule I2)
///
/// `ca.crt` has the certificates, `ca.key` the key of the present authority, and `ca-FINGERPRINT.key` that of one that comes.
struct AuthorityFiles: Sendable {
    let paths: NodePaths

    /// Where the key of an authority is, or would be, until it is the present one.
    func keyPath(_ fingerprint: CertificateRecord.Fingerprint) -> String {
        let name = fingerprint.prefix(8).map { UInt64($0).hexadecimal(digits: 2) }.joined()
        return "\(self.paths.tls)/ca-\(name).key"
    }

    /// The authorities (PEM) that are trusted here.
    func trusted() throws(SecureLinkError) -> [String] { try CertificateAuthority.trusted(self.paths.authority) }

    /// Makes `ca.crt` what the log says, durably. An authority whose certificate is not what its fingerprint says is refused.
    func trust(_ authorities: Authorities) throws {
        let wanted = authorities.trusted
        guard !wanted.isEmpty else { return }
        for authority in wanted
        where try CertificateAuthority.fingerprint(ofPEM: authority.certificate) != authority.fingerprint {
            throw DriverError.file(
                path: self.paths.authority,
                reason: "the log has an authority with another fingerprint than its certificate's",
                remedy: "cancel the exchange with `holdfast certificates rotate --cancel`")
        }
        var fingerprints: [CertificateRecord.Fingerprint] = []
        for text in try self.trusted() { fingerprints.append(try CertificateAuthority.fingerprint(ofPEM: text)) }
        guard fingerprints != wanted.map(\.fingerprint) else { return }
        try PEMFile.write(wanted.map(\.certificate).joined(), to: self.paths.authority, isSecret: false)
    }

    /// The authority with its key, as far as this node has it: the wanted one, or, where the log names none, the one that is there.
    func authority(_ wanted: Authorities.Authority?) -> CertificateAuthority? {
        guard let wanted else {
            return try? CertificateAuthority.load(
                certificatePath: self.paths.authority, keyPath: self.paths.authorityKey)
        }
        for path in [self.paths.authorityKey, self.keyPath(wanted.fingerprint)] {
            guard let key = try? PEMFile.read(path) else { continue }
            let found = try? CertificateAuthority(certificatePEM: wanted.certificate, privateKeyPEM: key)
            if let found, found.fingerprint == wanted.fingerprint { return found }
        }
        return nil
    }

    /// Keeps the key of an authority that comes, durably: before the log hears of it, on the member that made it.
    func keep(_ authority: CertificateAuthority) throws(SecureLinkError) {
        try PEMFile.write(authority.privateKeyPEM, to: self.keyPath(authority.fingerprint), isSecret: true)
    }

    /// Puts the key of the present authority in its place, and removes keys of authorities that are none any more.
    func tidyKeys(_ authorities: Authorities) throws {
        guard let present = authorities.present else { return }
        let own = self.keyPath(present.fingerprint)
        if let found = self.authority(present), access(own, F_OK) == 0 {
            try PEMFile.write(found.privateKeyPEM, to: self.paths.authorityKey, isSecret: true)
            unlink(own)
        }
        let coming = authorities.exchange.map { self.keyPath($0.next.fingerprint) }
        for name in Files.list(self.paths.tls, beginning: "ca-") where name.hasSuffix(".key") {
            let path = "\(self.paths.tls)/\(name)"
            if path != coming, path != own { unlink(path) }
        }
    }
}
