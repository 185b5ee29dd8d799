import Basis
import Cluster
import Reports

/// The certificates of the nodes. (Rule I1)
extension Backend {
    func certificates() async throws -> CertificatesReport {
        StatusBuilder(try await self.view()).certificates(
            nodeName: self.file.name, own: try? self.certificateKeeper.present())
    }

    func certificatesRenew() async throws -> MutationResult {
        self.certificateKeeper.ask()
        return MutationResult(
            accepted: true,
            sentence: "\(self.file.name) gets another certificate with a new key; connections that are there go on")
    }
}
