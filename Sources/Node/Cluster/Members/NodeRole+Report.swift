import Reports

extension NodeReport.Role {
    /// As it is said in reports.
    package init(_ role: NodeRole) {
        switch role {
        case .member: self = .member
        case .witness: self = .witness
        case .observer: self = .observer
        }
    }
}

extension NodeRole {
    /// As it is given to commands.
    package init(_ role: NodeReport.Role) {
        switch role {
        case .member: self = .member
        case .witness: self = .witness
        case .observer: self = .observer
        }
    }
}

extension NodeReport.State {
    /// As it is said in reports.
    package init(_ standing: ClusterState.Standing) {
        switch standing {
        case .never: self = .never
        case .trusted: self = .up
        case .suspected: self = .suspected
        case .lost: self = .lost
        }
    }
}
