import Testing

@testable import Daemon

/// What a person reads before signing for a loss.
@Suite
struct BackendSentenceTests {
    @Test func `entries that are known to be decided are not called doubtful`() {
        #expect(Backend.undecided(after: 89, to: 89) == nil)
        #expect(Backend.undecided(after: 80, to: 81) == "entry 81 was perhaps never decided; it is kept")
        #expect(Backend.undecided(after: 80, to: 83) == "entries 81 to 83 were perhaps never decided; they are kept")
    }

    @Test func `the copy that is signed for is not among those whose writes are lost`() {
        let left = Backend.loss(of: "pgdata", from: "osk-1", holders: ["tok-1"], isUnproven: false)
        #expect(
            left
                == "pgdata starts from the copy of osk-1; what tok-1 wrote since that copy left the in-sync set is lost for good"
        )
        let unproven = Backend.loss(of: "pgdata", from: "osk-1", holders: ["tok-1", "osk-1"], isUnproven: true)
        #expect(unproven.hasSuffix("what the majority that was lost may have written without it is lost for good"))
        let other = Backend.loss(of: "pgdata", from: "osk-1", holders: ["tok-1"], isUnproven: true)
        #expect(other == left)
    }
}
