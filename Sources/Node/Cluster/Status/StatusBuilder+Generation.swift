import Basis

/// What `status` says of generations. (Rule R1)
extension StatusBuilder {
    /// Why this node takes part in nothing, or only halfway.
    var generationSentences: [String] {
        let supervisor = self.view.supervisor
        if let overtaker = supervisor.generation.overtakenBy {
            return [
                "this node was left behind by generation \(overtaker.number) and takes part in nothing (R1); "
                    + "`holdfast cluster rejoin` brings it back with an empty log"
            ]
        }
        if supervisor.isAstray(at: self.view.now) {
            return [
                "this node has an empty log and follows generation \(supervisor.generation.generation.number), in which nobody "
                    + "leads; if the others are not in that one, `holdfast cluster rejoin` brings this node back to them"
            ]
        }
        guard supervisor.isRecoveryUnfinished else { return [] }
        return [
            "a recovery was begun here and has not ended (generation \(supervisor.generation.generation.number)): this node takes "
                + "nothing of the lost majority any more; give the order again (`holdfast cluster recover --preview`), or, if the "
                + "majority is back, `holdfast cluster rejoin`"
        ]
    }
}
