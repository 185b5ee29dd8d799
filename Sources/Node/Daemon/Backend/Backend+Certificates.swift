import Basis
import Cluster
import Reports

/// The certificates of the nodes. (Rule I1)
extension Backend {
    func certificates() async throws -> CertificatesReport {
        let view = try await self.wholeView()
        return StatusBuilder(view).certificates(
            nodeName: self.file.name, own: try? self.certificateKeeper.present(view.supervisor.state.authorities))
    }

    func certificatesRenew() async throws -> MutationResult {
        self.certificateKeeper.ask()
        return MutationResult(
            accepted: true,
            sentence: "\(self.file.name) gets another certificate with a new key; connections that are there go on")
    }

    func certificatesRotate(_ request: RotateRequest) async throws -> MutationResult {
        let view = try await self.wholeView()
        let state = view.supervisor.state
        if !request.without.isEmpty || request.isCancelled { return try await self.changeExchange(request, state) }
        if let late = StatusBuilder(view).laterPrograms.first {
            throw APIFailure(
                .refused, "\(late): it would not trust another authority",
                remedy: "see `holdfast upgrade status`, and wait until it was renewed")
        }
        let waits = state.nodes.filter { $0.standing != .trusted }.map(\.about.name)
        let sentence =
            "another authority takes the place of the present one once every node trusts it, and each gets a certificate of it; "
            + "connections go on"
            + (waits.isEmpty
                ? "" : ". It waits for \(Suggestion.list(waits)), which \(waits.count == 1 ? "is" : "are") not up")
        if request.dryRun || state.authorities.exchange != nil {
            // The rules are asked with an authority that nobody has made.
            let made = Authorities.Authority(fingerprint: .init(repeating: 1, count: 32), certificate: "-")
            let present =
                state.authorities.present
                ?? Authorities.Authority(fingerprint: .init(repeating: 0, count: 32), certificate: "-")
            return try await self.change(
                .changeAuthority(.begin(present: present, next: made)), MutationRequest(dryRun: true), state, sentence)
        }
        let index = try await self.certificateKeeper.makeAuthority(state.authorities) {
            try await self.propose(.changeAuthority($0))
        }
        return MutationResult(accepted: true, index: index.rawValue, sentence: sentence)
    }

    private func changeExchange(_ request: RotateRequest, _ state: ClusterState) async throws -> MutationResult {
        guard let exchange = state.authorities.exchange else {
            throw APIFailure(
                .refused, "no other authority is coming", remedy: "`holdfast certificates rotate` begins with one")
        }
        let nodes = try request.without.map { try self.node($0, state).id }.sorted()
        let change: Authorities.Change =
            request.isCancelled
            ? .cancel(exchange.next.fingerprint) : .without(exchange.next.fingerprint, nodes)
        let names = Suggestion.list(request.without)
        return try await self.change(
            .changeAuthority(change), MutationRequest(dryRun: request.dryRun), state,
            request.isCancelled
                ? "the present authority stays, and the one that was to come is trusted no more"
                : "\(names) \(nodes.count == 1 ? "is" : "are") not waited for: unless back before it is over, the machine has to "
                    + "join anew with `holdfast join --replace`")
    }
}
