import Basis
import Resources

/// What becomes of everything once a lost majority is left behind. (Rules R3 to R5)
extension ClusterState {
    /// The last generation that the log knows.
    public var base: Generation { self.recoveries.last?.generation ?? .first }

    /// The first entry of a new generation. The old majority may have committed what no survivor has: so no life goes on, no
    /// set of copies is believed, and what it assigned is over, whatever it was.
    mutating func recover(_ plan: RecoveryPlan, at index: LogIndex) -> Outcome {
        // Rule R5: given twice, after a crash, it takes effect once.
        guard plan.generation.number > self.generation else {
            return .refused(.over("generation \(plan.generation.number) is over"))
        }
        self.generation = plan.generation.number
        self.recoveries.append(plan)
        self.note(.cluster(.recovered(plan.generation, by: self.named(plan.coordinator))), at: index)
        for place in self.nodes.indices { self.endLife(ofNodeAt: place, at: index) }
        for place in self.nodes.indices where plan.dead.contains(self.nodes[place].id) {
            self.nodes[place].isLeftBehind = true
        }
        for place in self.volumes.indices where self.volumes[place].epoch != .none {
            self.volumes[place].isUnproven = true
            self.volumes[place].owner = nil
            self.volumes[place].version += 1
        }
        if !plan.startsGroups {
            for place in self.groups.indices where self.groups[place].isWanted {
                self.groups[place].isWanted = false
                self.groups[place].wishedAt = index
                self.touched.names.append(self.groups[place].name)
                self.note(.group(self.groups[place].name, .wantedStopped), at: index)
            }
        }
        return .accepted
    }

    /// Rule R3: every renewal that a survivor answered is over by now, and those that others answered a person has signed for.
    private mutating func endLife(ofNodeAt place: Int, at index: LogIndex) {
        let record = self.nodes[place]
        switch record.standing {
        case .never, .lost: return
        case .trusted:
            self.nodes[place].standing = .suspected(at: index)
            fallthrough
        case .suspected:
            self.nodes[place].standing = .lost
            self.nodes[place].since = self.clusterMilliseconds
            self.note(.node(record.named, .lost(.recovery)), at: index)
            self.endAssignments(of: record.id, incarnation: record.incarnation)
            self.forgetAttributes(of: record.id, ofItsLifeAlone: true)
        }
    }

    /// Rule R6: whose copies of the volume are taken as they are found, wherever their disks are now: those of nodes that were
    /// given up and have not come back, as long as nobody has signed for a copy.
    func formerNodes(of record: VolumeRecord) -> [NodeID] {
        guard record.isUnproven else { return [] }
        let given = Set(self.recoveries.flatMap(\.dead))
        return given.filter { self.node($0)?.isLeftBehind ?? true }.sorted()
    }

    /// Rule R4: why no copy of the volume is used yet; nil if one may be.
    func recoveryObjection(_ record: VolumeRecord) -> String? {
        guard record.isUnproven else { return nil }
        return
            "is not known to have every write of \(record.name) since the majority was lost: see what each copy holds with "
            + "`holdfast volume accept-loss \(record.name) --node NODE --dry-run`, and sign for one"
    }
}
