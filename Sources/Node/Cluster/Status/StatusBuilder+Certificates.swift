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

    /// What would not hear of another authority, as clauses: volume servers that outlived an upgrade of their daemon. (Rule I2)
    package var laterPrograms: [String] {
        self.state.nodes.flatMap { record in
            (self.summary(of: record.id)?.summary.programs?.servers ?? []).filter { !$0.helper.isPresent }.map {
                "the server of volume \($0.volume) on \(record.about.name) is of an earlier release"
            }
        }
    }

    /// What an exchange of the authority waits for. (Rule I2)
    var exchangeNotes: [String] {
        guard let exchange = self.state.authorities.exchange else { return [] }
        let awaited = Suggestion.list(self.state.awaitedByExchange.map(\.about.name))
        let step =
            if exchange.isTrusted {
                "it waits for \(awaited) to get a certificate of it"
            } else if !self.state.awaitedByExchange.isEmpty {
                "it waits for \(awaited) to trust it"
            } else {
                "it waits for another member to keep its key"
            }
        return ["another authority (\(exchange.next.name)) takes the place of the present one: \(step) (I2)"]
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
                ? self.exchangeNotes
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
