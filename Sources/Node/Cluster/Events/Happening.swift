import Basis
import Resources

/// What can happen to a cluster as a whole, to one of its nodes, groups or volumes.
public enum Happening: Equatable, Sendable {
    case cluster(ClusterHappening)
    case node(NamedNode, NodeHappening)
    case group(GroupName, GroupHappening)
    case volume(VolumeName, VolumeHappening)
    /// In the words of an earlier build, which kept no more than these.
    case told(EarlierWords)

    /// A stable name for counters and alerts; never reworded.
    public var identifier: String {
        switch self {
        case .cluster(let happening): happening.identifier
        case .node(_, let happening): happening.identifier
        case .group(_, let happening): happening.identifier
        case .volume(_, let happening): happening.identifier
        case .told: "told"
        }
    }

    /// How much it matters; always the same for one `identifier`.
    public var severity: Severity {
        switch self {
        case .cluster(let happening): happening.severity
        case .told: .info
        case .node(_, let happening): happening.severity
        case .group(_, let happening): happening.severity
        case .volume(_, let happening): happening.severity
        }
    }

    /// The rule or the wish behind it.
    public var rule: EventRule {
        switch self {
        case .cluster(let happening): happening.rule
        case .node(_, let happening): happening.rule
        case .group(_, let happening): happening.rule
        case .volume(_, let happening): happening.rule
        case .told(let words): words.rule
        }
    }

    /// Whether a person asked for it or signed it.
    public var isAsked: Bool {
        switch self {
        case .cluster(let happening): happening.isAsked
        case .node(_, let happening): happening.isAsked
        case .group(_, let happening): happening.isAsked
        case .volume(_, let happening): happening.isAsked
        case .told: false
        }
    }

    /// The group that it is about, if any.
    public var group: GroupName? {
        switch self {
        case .group(let group, _): group
        case .told(let words): words.group
        case .cluster, .node, .volume: nil
        }
    }

    /// The volume that it is about, if any.
    public var volume: VolumeName? {
        if case .volume(let volume, _) = self { return volume }
        return nil
    }
}

/// An event of an earlier build: a sentence, and what was kept beside it.
public struct EarlierWords: Equatable, Sendable {
    /// The sentence.
    var words: KeptWords
    /// The rule or the wish behind it.
    var rule: EventRule
    /// The group that it is about, if any.
    var group: GroupName?
    /// The node that it is about, if any.
    var node: NamedNode?
}

/// What happens to the cluster as a whole.
public enum ClusterHappening: Equatable, Sendable {
    /// It begins, with its name. (Rule B1)
    case founded(String, by: NamedNode)
    /// A person put another configuration into force.
    case configured
    /// A lost majority was left behind. (Rule R5)
    case recovered(Generation, by: NamedNode)
    /// A person raised what all nodes can do. (Rule U1)
    case raised(FeatureLevel)
    /// A person puts another authority in the place of the present one, by the beginning of its fingerprint: it comes, every node
    /// trusts it, the present one is gone; or it does not come after all. (Rule I2)
    case authorityComes(KeptWords), authorityTrusted(KeptWords), authorityExchanged(KeptWords), authorityStays(
        KeptWords)
    /// A person writes something down, about a node or about none.
    case noted(KeptWords, about: NamedNode?)

    var identifier: String {
        switch self {
        case .founded: "cluster.founded"
        case .configured: "cluster.configured"
        case .recovered: "cluster.recovered"
        case .raised: "cluster.raised"
        case .authorityComes: "cluster.authority-comes"
        case .authorityTrusted: "cluster.authority-trusted"
        case .authorityExchanged: "cluster.authority-exchanged"
        case .authorityStays: "cluster.authority-stays"
        case .noted: "cluster.noted"
        }
    }

    var rule: EventRule {
        switch self {
        case .founded: EventRule("B1")
        case .configured: .apply
        case .recovered: EventRule("R5")
        case .raised: EventRule("U1")
        case .authorityComes, .authorityStays: .operator
        case .authorityTrusted, .authorityExchanged: EventRule("I2")
        case .noted: .operator
        }
    }

    var severity: Severity {
        switch self {
        case .founded, .configured, .raised, .noted: .info
        case .authorityComes, .authorityTrusted, .authorityExchanged, .authorityStays: .info
        case .recovered: .warning
        }
    }

    var isAsked: Bool {
        switch self {
        case .founded, .authorityTrusted, .authorityExchanged: false
        case .configured, .recovered, .raised, .noted, .authorityComes, .authorityStays: true
        }
    }
}

/// What happens to a node.
public enum NodeHappening: Equatable, Sendable {
    /// It is a member from here on. (Rule B1)
    case joined(site: String)
    /// It joined once more, before it was ever up. (Rule N2)
    case joinedAgain(site: String)
    /// A life of it begins. (Rule L8)
    case up
    /// A life of it begins, with another log than the one that was known. (Rule E2)
    case upWithNewLog
    /// A majority hears nothing from it. (Rule L7)
    case silent
    /// It is heard again before it was lost. (Rule L4)
    case heardAgain
    /// It has certainly no lease any more.
    case lost(LossProof)
    /// A person wants it empty, or no longer.
    case drained, undrained
    /// It goes in order, or does not after all. (Rule L21)
    case shutsDown, stays
    /// A person made something else of it, in this order: what it may do, its site, its address, its labels. (Rules J1, J4, J5)
    case role(NodeRole), site(String), address(String), labelled
    /// A person wants it gone for good, or kept after all. (Rule J2)
    case retires, kept
    /// It is no node any more. (Rule J2)
    case left
    /// Another machine has its place and its name. (Rule J3)
    case replaced
    /// A person expects it to pause, for so long at most, or no longer. (Rule L22)
    case pauseExpected(Span), pauseOver
    /// A person wants the exchange of the authority to go on without it. (Rule I2)
    case authorityWithout
    /// Several machines say that they are it. (Rule E5)
    case duplicated([Twin])
    /// A person said which of them it is. (Rule E5)
    case original(Twin)
    /// That one has a key that no other one has: it is one machine again. (Rule E5)
    case singled
    /// It has another certificate, until this second from 1970.
    case certificateRenewed(until: UInt64)
    /// Its certificate ends then, and it could not get another one.
    case certificateStuck(until: UInt64, KeptWords)

    /// Why it is certain.
    public enum LossProof: UInt8, Sendable {
        /// The wait for its lease is over. (Rule L6)
        case leaseEnded = 0
        /// A fence device ended it. (Rule L14)
        case fenced = 1
        /// The majority was lost, and the survivors have waited long enough. (Rule R3)
        case recovery = 2
    }

    var identifier: String {
        switch self {
        case .joined: "node.joined"
        case .joinedAgain: "node.joined-again"
        case .up: "node.up"
        case .upWithNewLog: "node.up-with-new-log"
        case .silent: "node.silent"
        case .heardAgain: "node.heard-again"
        case .lost: "node.lost"
        case .drained: "node.drained"
        case .undrained: "node.undrained"
        case .shutsDown: "node.shuts-down"
        case .stays: "node.stays"
        case .role: "node.role"
        case .site: "node.site"
        case .address: "node.address"
        case .labelled: "node.labelled"
        case .retires: "node.retires"
        case .kept: "node.kept"
        case .left: "node.left"
        case .replaced: "node.replaced"
        case .pauseExpected: "node.pause-expected"
        case .pauseOver: "node.pause-over"
        case .authorityWithout: "node.authority-without"
        case .duplicated: "node.duplicated"
        case .original: "node.original"
        case .singled: "node.singled"
        case .certificateRenewed: "node.certificate-renewed"
        case .certificateStuck: "node.certificate-stuck"
        }
    }

    /// Whether a person asked for it.
    var isAsked: Bool {
        switch self {
        case .drained, .undrained, .role, .site, .address, .labelled, .retires, .kept: true
        case .pauseExpected, .pauseOver, .authorityWithout, .original: true
        default: false
        }
    }

    var severity: Severity {
        switch self {
        case .joined, .joinedAgain, .up, .heardAgain, .drained, .undrained, .shutsDown, .stays: .info
        case .role, .site, .address, .labelled, .retires, .kept, .left, .replaced, .certificateRenewed: .info
        case .pauseExpected, .pauseOver, .original, .singled: .info
        case .upWithNewLog, .silent, .certificateStuck, .authorityWithout: .warning
        case .lost, .duplicated: .error
        }
    }

    var rule: EventRule {
        switch self {
        case .joined: EventRule("B1")
        case .joinedAgain: EventRule("N2")
        case .up: EventRule("L8")
        case .upWithNewLog: EventRule("E2")
        case .silent: EventRule("L7")
        case .heardAgain: EventRule("L4")
        case .lost(.leaseEnded): EventRule("L6")
        case .lost(.fenced): EventRule("L14")
        case .lost(.recovery): EventRule("R3")
        case .drained, .undrained: .operator
        case .shutsDown, .stays: EventRule("L21")
        case .role, .site, .address, .labelled, .retires, .kept: .operator
        case .left: EventRule("J2")
        case .replaced: EventRule("J3")
        case .pauseExpected, .pauseOver: EventRule("L22")
        case .authorityWithout: .operator
        case .duplicated, .original, .singled: EventRule("E5")
        case .certificateRenewed, .certificateStuck: EventRule("I1")
        }
    }
}
