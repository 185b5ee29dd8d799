@testable import API
@testable import Reports

extension FakeBackend {
    func backup(isStale: Bool) async throws -> BackupReport {
        try self.record("backup" + (isStale ? " (stale)" : ""))
        return BackupReport(
            version: 1, cluster: "prod", servedBy: "osk-1", index: 1208, takenMilliseconds: 1_700_000_000_000,
            release: "0.2.0",
            featureLevel: 2, checksum: 0, state: "")
    }
}
