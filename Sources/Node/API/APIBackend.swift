import Reports

/// What the daemon does for the API. Command line and web page reach it through `APIServer` alone.
///
/// Every method answers from any node; those that change something forward to the leader. Names are exact (the
/// command line resolves prefixes). Failures are thrown as `APIFailure`; anything else becomes code `error`.
public protocol APIBackend: Sendable {
    /// How the cluster stands; answers without quorum too, and never waits for another node.
    func status() async throws -> StatusReport
    /// The same, no older than what anybody was told before it was asked for; `noQuorum` when that cannot be known.
    func consistentStatus() async throws -> StatusReport
    /// The configuration in force.
    func policy() async throws -> PolicyReport
    /// What would happen now, or under the configuration in `request`.
    func plan(_ request: PlanRequest) async throws -> PlanReport
    /// Checks and commits a configuration; mistakes are `usage` with one detail per mistake.
    func apply(_ request: ApplyRequest) async throws -> MutationResult
    /// Moves a group to the node `request.to`; any eligible node when nil.
    func groupMove(_ group: String, _ request: MutationRequest) async throws -> MutationResult
    /// Lets a stopped, parked or failed group run again.
    func groupStart(_ group: String, _ request: MutationRequest) async throws -> MutationResult
    /// Takes an operator's word that nothing of a group that never ran runs where that is not proven, and lets it run. A dry
    /// run names the nodes, and what they met; else `request.statement` is required. (Rule B2)
    func groupDeclareAbsent(_ group: String, _ request: MutationRequest) async throws -> MutationResult
    /// Stops a group until `groupStart`.
    func groupStop(_ group: String, _ request: MutationRequest) async throws -> MutationResult
    /// Signs, with `request.statement`, that nothing of a group is left on the node `request.to`, which said that it cannot
    /// stop it.
    func groupConfirmStopped(_ group: String, _ request: MutationRequest) async throws -> MutationResult
    /// Moves every group away from a node and keeps them away.
    func nodeDrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Lets groups come to a drained node again.
    func nodeUndrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Says which of several machines that say that they are a node is it: `machine` names it.
    func nodeOriginal(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Expects a node to pause, for `request.milliseconds` at most; zero: no longer. (Rule L22)
    func nodeExpectPause(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Shuts the answering node down in order; asked again and again, it says what is left, and `accepted` once nothing is.
    /// (Rule L21)
    func nodeShutDown(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Changes role, site, address or labels of a node to what `request.node` says. (Rules J1, J4, J5)
    func nodeSet(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Takes a node out of the cluster for good, step by step. (Rule J2)
    func nodeRemove(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// Keeps a node that is to leave and has not left yet.
    func nodeKeep(_ node: String, _ request: MutationRequest) async throws -> MutationResult
    /// How the survivors of a lost majority stand, and what going on without it could cost. (Rule R2)
    func recovery() async throws -> RecoveryReport
    /// Leaves a lost majority behind; without `request.statement` it says what to sign. (Rules R2 to R5)
    func recover(_ request: RecoveryRequest) async throws -> MutationResult
    /// Lets the answering node, which was left behind, come back with an empty log. (Rule R1)
    func rejoin() async throws -> MutationResult
    /// All that the cluster has agreed on, as nobody was told later before it was asked for; `noQuorum` when that cannot be known,
    /// unless `isStale`, which is what this node has. (Rule R6)
    func backup(isStale: Bool) async throws -> BackupReport
    /// What the cluster has agreed that all nodes can do, and what each can. (Rule U1)
    func upgrade() async throws -> UpgradeReport
    /// Relies on what every node can do from now on; refused unless all were heard to. (Rule U1)
    func upgradeFinalize(_ request: MutationRequest) async throws -> MutationResult
    /// Hands leadership to the node `request.to`; to the best one when nil.
    func leaderTransfer(_ request: MutationRequest) async throws -> MutationResult
    /// Writes `request.statement` among the events, about the node `request.to` or about none.
    func note(_ request: MutationRequest) async throws -> MutationResult
    /// Every attribute, or those of one scope (`cluster`, `node:NAME`). No older than what anybody was told before they were
    /// asked for, and `noQuorum` when that cannot be known; unless `isStale`, which shows what this node has. (Rule A2)
    func attributes(scope: String?, isStale: Bool) async throws -> AttributesReport
    /// One attribute, likewise; `notFound` when there is none.
    func attribute(_ scope: String, _ name: String, isStale: Bool) async throws -> AttributesReport
    /// Puts one; `conflict` when it is not what `request` expects, with what it is. (Rule A1)
    func attributePut(_ scope: String, _ name: String, _ request: AttributeRequest) async throws -> MutationResult
    /// Deletes one, likewise.
    func attributeDelete(_ scope: String, _ name: String, _ request: AttributeRequest) async throws -> MutationResult
    /// Compares every block of a volume with its owner again, on the replica `request.to` or on all when nil.
    func volumeResync(_ volume: String, _ request: MutationRequest) async throws -> MutationResult
    /// Signs that a volume may start from the copy of `request.to` although writes may be missing; `request.statement` is
    /// what the dry run asks for. (Rule V8)
    func volumeAcceptLoss(_ volume: String, _ request: MutationRequest) async throws -> MutationResult
    /// Allows that the next start repairs the volume's file system; signed likewise. (Rule V22)
    func volumeAllowRepair(_ volume: String, _ request: MutationRequest) async throws -> MutationResult
    /// At most `limit` events with an index above `after`, the first or, with `latest`, the newest; when there are none
    /// yet, waits up to `waitSeconds`.
    func events(after: UInt64, limit: Int, latest: Bool, waitSeconds: Double) async throws -> EventsReport
    /// How often the answering daemon has told what, since it began.
    func counters() async throws -> CountersReport
    /// Why a group is where it is.
    func explain(_ group: String) async throws -> ExplainReport
    /// The OCF agents of the answering machine.
    func agents() async throws -> AgentsReport
    /// What an OCF agent of the answering machine says of itself.
    func agent(_ name: String) async throws -> AgentReport
    /// The certificates of the nodes. (Rule I1)
    func certificates() async throws -> CertificatesReport
    /// Gets another one for the answering node, soon.
    func certificatesRenew() async throws -> MutationResult
    /// Puts another authority in the place of the cluster's, goes on with that without some nodes, or takes it back. (Rule I2)
    func certificatesRotate(_ request: RotateRequest) async throws -> MutationResult
    /// The join tokens of the answering node that are still good.
    func tokens() async throws -> TokensReport
    /// Voids one of them.
    func revokeToken(_ id: String) async throws -> MutationResult
    /// A new one-time join token; only on the node that keeps the authority's key.
    func createToken() async throws -> TokenReport
}
