@testable import Reports

extension StatusReport {
    static let sample = StatusReport(
        cluster: "prod", health: .healthy, healthSentence: "3 of 3 nodes up, any one may fail", servedBy: "osk-1",
        servedAgeSeconds: 0.1, leader: "tok-1", term: 4, commitIndex: 1208, policyIndex: 17, hasQuorum: true,
        survivesFailures: 1, boundSeconds: 361, usualSeconds: 3.4,
        nodes: [
            NodeReport(
                name: "osk-1", site: "osaka", role: .member, state: .up, incarnation: 12, leaseRemainingSeconds: 1.6,
                reason: "", sinceSeconds: 3_542_400, programs: ProgramsReport(version: "1.2.0", featureLevel: 3)),
            NodeReport(
                name: "tok-1", site: "tokyo", role: .member, state: .up, address: "10.0.0.1:7400", incarnation: 3,
                lastHeardSeconds: 0.08, isLeader: true, reason: "", sinceSeconds: 3_542_400,
                programs: ProgramsReport(version: "1.2.0", featureLevel: 3)),
            NodeReport(
                name: "wit-1", site: "cloud", role: .witness, state: .up, incarnation: 20, lastHeardSeconds: 0.1,
                appliedIndexLag: 0, reason: "", sinceSeconds: 7200,
                programs: ProgramsReport(version: "1.2.0", featureLevel: 3)),
        ],
        groups: [
            GroupReport(
                name: "orders", state: .running, owner: "tok-1", epoch: "1207", reason: "", sinceSeconds: 86_400,
                nodes: ["tok-1", "osk-1"], takeover: "after-lease",
                resources: [
                    ResourceReport(name: "disk", agent: "volume", state: .running),
                    ResourceReport(name: "db", agent: "exec", state: .running, checkedSecondsAgo: 0.9),
                ])
        ],
        volumes: [
            VolumeReport(
                name: "pgdata", sizeBytes: 1 << 30, owner: "tok-1", epoch: "1207", setVersion: 2,
                carrier: "nbd /dev/nbd0",
                replicas: [
                    ReplicaReport(node: "tok-1", inSync: true, connected: true, role: .owner),
                    ReplicaReport(node: "osk-1", inSync: true, connected: true, role: .replica),
                ], writtenBytes: 1 << 30, sentBytes: 1 << 30, sentCompressedBytes: 1 << 29)
        ])

    /// tok-2 is gone, orders waits, and the copy on osk-1 is being compared.
    static var troubled: StatusReport {
        var report = Self.sample
        report.health = .degraded
        report.healthSentence = "2 of 3 nodes up, none may fail"
        report.reasons = ["osk-1 is suspected: silent for 1.2 s", "orders waits for the lease of osk-1"]
        report.warnings = ["the watchdog of tok-1 is missing (L12)"]
        report.survivesFailures = 0
        report.nodes[0].state = .suspected
        report.nodes[0].reason = "silent for 1.2 s"
        report.nodes[0].drained = true
        report.groups[0].state = .waiting
        report.groups[0].reason = "the lease of osk-1 ends in 1.1 s (L6)"
        report.groups[0].resources[1].state = .failed
        report.groups[0].resources[1].reason = "exit code 1: port 5432 is in use"
        report.volumes[0].replicas[1].inSync = false
        report.volumes[0].replicas[1].resyncRemainingBytes = 256 << 20
        report.volumes[0].replicas[1].resyncTotalBytes = 1 << 30
        report.volumes[0].replicas[1].dirtyBytes = 256 << 20
        report.volumes[0].replicas[1].reason = "was away for 12 s"
        return report
    }
}
