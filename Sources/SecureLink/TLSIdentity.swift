import Glibc

/// The PEM files that let a node prove who it is and recognise the others. They may be replaced while they are used: who is
/// connected stays so, and the next handshake takes what is there then.
public struct TLSIdentity: Sendable, Equatable {
    /// The cluster's certificate authority; more than one while another takes its place.
    public let certificateAuthorityPath: String
    /// The certificate that this node was let in with.
    public let certificatePath: String
    /// Its private key, mode 0600.
    public let keyPath: String
    /// Certificate and key in one file, mode 0600, which take their place once they were renewed.
    public let renewedPath: String?

    /// Names the files; nothing is read yet.
    public init(
        certificateAuthorityPath: String, certificatePath: String, keyPath: String, renewedPath: String? = nil
    ) {
        self.certificateAuthorityPath = certificateAuthorityPath
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.renewedPath = renewedPath
    }

    /// The files that hold certificate and key at this moment.
    var pair: (certificate: String, key: String) {
        if let path = self.renewedPath, access(path, F_OK) == 0 { return (path, path) }
        return (self.certificatePath, self.keyPath)
    }

    /// Puts a renewed certificate and its key in the place of the present ones, durably and as one: whatever happens meanwhile, one
    /// pair or the other is there.
    public func replacePair(certificate: String, key: NodeKey) throws(SecureLinkError) {
        guard let path = self.renewedPath else { preconditionFailure("an identity that is not renewed") }
        try PEMFile.write(certificate + key.privateKeyPEM, to: path, isSecret: true)
    }

    /// What tells that one of the files was replaced.
    struct Stamp: Equatable, Sendable {
        private struct File: Equatable, Sendable {
            var device: UInt
            var inode: UInt
            var changed: [Int]
            var size: Int
        }
        private var files: [File?]

        init(_ identity: TLSIdentity) {
            let paths = [
                identity.certificateAuthorityPath, identity.certificatePath, identity.keyPath, identity.renewedPath,
            ]
            self.files = paths.map { path in
                var facts = stat()
                guard let path, stat(path, &facts) == 0 else { return nil }
                return File(
                    device: UInt(facts.st_dev), inode: UInt(facts.st_ino),
                    changed: [facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec], size: Int(facts.st_size))
            }
        }
    }
}
