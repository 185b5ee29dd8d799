import Basis

/// How a guard takes the place of one that runs: it looks first, beside the other, and only then asks that one to go. So the lease
/// is never without a guard, and two that kill do no more than one. (Rule L12.4)
struct GuardSuccession {
    /// What is to be done after a look.
    enum Step: Equatable {
        /// The other one is still needed, or about to go.
        case wait
        /// Ask the other one to go.
        case ask
        /// The other one stays: this one leaves.
        case giveUp
    }

    /// A guard goes at once when it is asked; one that does not is left alone.
    private static let patience = Span.seconds(5)

    private let began: Tick
    private var hasAsked = false

    init(at now: Tick) { self.began = now }

    /// After a look of this guard that found `phase`, while the other still has the lock. One that kills, or holds everything still
    /// in a doubt, finishes that itself.
    mutating func step(after phase: GuardLoop.Phase, isHolding: Bool, at now: Tick) -> Step {
        if now.since(self.began) >= Self.patience { return .giveUp }
        if self.hasAsked || phase == .killing || isHolding { return .wait }
        self.hasAsked = true
        return .ask
    }
}
