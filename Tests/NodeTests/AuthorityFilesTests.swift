import Basis
import Foundation
import ScenarioKit
import SecureLink
import Testing

@testable import Cluster
@testable import Daemon

/// What lies in the files of the authorities is what the log says. (Rule I2)
@Suite struct AuthorityFilesTests {
    private let scratch: ScratchDirectory
    private let files: AuthorityFiles
    private let old: CertificateAuthority
    private let new: CertificateAuthority

    init() throws {
        self.scratch = try ScratchDirectory()
        let paths = NodePaths(directory: self.scratch.path, run: self.scratch.path)
        try paths.create()
        self.files = AuthorityFiles(paths: paths)
        self.old = try CertificateAuthority.create(clusterName: "prod")
        self.new = try CertificateAuthority.create(clusterName: "prod")
        try self.old.save(certificatePath: paths.authority, keyPath: paths.authorityKey)
    }

    private static func known(_ authority: CertificateAuthority) -> Authorities.Authority {
        .init(fingerprint: authority.fingerprint, certificate: authority.certificatePEM)
    }

    private func authorities(isOver: Bool = false) -> Authorities {
        var authorities = Authorities()
        authorities.present = Self.known(isOver ? self.new : self.old)
        if !isOver { authorities.exchange = .init(next: Self.known(self.new)) }
        return authorities
    }

    private var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: self.files.paths.tls).sorted()) ?? []
    }

    @Test func `both are trusted while one takes the place of the other, and then that one alone (rule I2)`() throws {
        try self.files.trust(Authorities())
        #expect(try self.files.trusted() == [self.old.certificatePEM], "before any exchange the file stays as it is")
        try self.files.trust(self.authorities())
        #expect(try self.files.trusted() == [self.old.certificatePEM, self.new.certificatePEM])
        try self.files.trust(self.authorities(isOver: true))
        #expect(try self.files.trusted() == [self.new.certificatePEM])
    }

    @Test func `an authority whose certificate is another one than was said is not trusted`() throws {
        var authorities = self.authorities()
        authorities.exchange?.next.fingerprint[0] ^= 1
        #expect(throws: DriverError.self) { try self.files.trust(authorities) }
        #expect(try self.files.trusted() == [self.old.certificatePEM])
    }

    @Test func `the key of the one that comes takes the place of the present one's when it is over`() throws {
        #expect(self.files.authority(nil)?.fingerprint == self.old.fingerprint)
        #expect(self.files.authority(Self.known(self.new)) == nil)
        try self.files.keep(self.new)
        try self.files.trust(self.authorities())
        try self.files.tidyKeys(self.authorities())
        #expect(self.files.authority(Self.known(self.new))?.fingerprint == self.new.fingerprint)
        #expect(self.files.authority(Self.known(self.old))?.fingerprint == self.old.fingerprint)
        try self.files.trust(self.authorities(isOver: true))
        try self.files.tidyKeys(self.authorities(isOver: true))
        #expect(self.names == ["ca.crt", "ca.key"])
        #expect(self.files.authority(Self.known(self.new))?.fingerprint == self.new.fingerprint)
        #expect(self.files.authority(nil)?.fingerprint == self.new.fingerprint)
        let mode = try FileManager.default.attributesOfItem(atPath: self.files.paths.authorityKey)[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }

    @Test func `a key that is made while the log is looked at is none that the log has forgotten`() {
        var making = AuthorityMaking()
        let before = making.count
        #expect(making.isQuiet(since: before))
        let begins = [making.begin(), making.begin()]
        #expect(begins == [true, false], "one at a time")
        let meanwhile = making.count
        #expect(!making.isQuiet(since: before) && !making.isQuiet(since: meanwhile))
        making.end()
        #expect(!making.isQuiet(since: before) && !making.isQuiet(since: meanwhile), "what was looked at then is older")
        #expect(making.isQuiet(since: making.count))
    }

    @Test func `keys of authorities that do not come after all are removed, and others never`() throws {
        try self.files.keep(self.new)
        try self.files.tidyKeys(Authorities())
        #expect(self.files.authority(Self.known(self.new)) != nil, "this log knows of no authority yet")
        try self.files.tidyKeys(self.authorities())
        #expect(self.files.authority(Self.known(self.new)) != nil)
        var cancelled = self.authorities()
        cancelled.exchange = nil
        try self.files.tidyKeys(cancelled)
        #expect(self.files.authority(Self.known(self.new)) == nil)
        #expect(self.files.authority(nil)?.fingerprint == self.old.fingerprint)
    }
}
