import Basis
import Reports

/// Certificates and their ends. No link looks at those, so all of it is for people. (Rule I1)
extension StatusBuilder {
    /// A sentence about each certificate that was to be renewed long ago.
    var certificateWarnings: [String] {
        guard let seconds = CertificateClocks(self.view).agreedSeconds else { return [] }
        return self.state.nodes.compactMap { record in
            guard let certificate = record.certificate, CertificateLife.isNearEnd(certificate.validity, at: seconds)
            else {
                return nil
            }
            let hasEnded = seconds > certificate.validity.until
            let reason = certificate.trouble.map { ": \($0.text)" } ?? ", and it says nothing of why; is it up?"
            let end = "\(hasEnded ? "ended" : "ends") on \(Validity.day(certificate.validity.until))"
            return
                "the certificate of \(record.about.name) \(end) (no link looks at that; its renewal does not work)\(reason)"
        }
    }

    /// The certificates of all nodes; `own` is what this one has in its files.
    package func certificates(nodeName: String, own: CertificateRecord?) -> CertificatesReport {
        let isLevelReached = self.state.level >= Command.certificateLevel
        let nodes = self.state.nodes.map { record in
            self.certificate(of: record, record.id == self.me ? own ?? record.certificate : record.certificate)
        }
        return CertificatesReport(
            servedBy: nodeName,
            notes: isLevelReached
                ? []
                : [
                    "nodes tell of their certificates from feature level \(Command.certificateLevel) on: this is what \(nodeName) "
                        + "has"
                ],
            nodes: nodes.sorted { $0.name < $1.name })
    }

    private func certificate(
        of record: ClusterState.NodeRecord, _ certificate: CertificateRecord?
    ) -> CertificatesReport.Node {
        var node = CertificatesReport.Node(name: record.about.name)
        guard let certificate else { return node }
        node.fingerprint = Self.hexadecimal(certificate.fingerprint)
        node.authority = Self.hexadecimal(certificate.authority)
        node.keepsAuthorityKey = certificate.keys.contains(certificate.authority)
        node.trouble = certificate.trouble?.text
        if certificate.validity.lifeSeconds <= CertificateLife.longestSeconds {
            node.renewsSeconds = CertificateLife.renewalSeconds(certificate.validity, of: record.id)
            node.endsSeconds = certificate.validity.until
        }
        return node
    }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { UInt64($0).hexadecimal(digits: 2) }.joined()
    }
}
