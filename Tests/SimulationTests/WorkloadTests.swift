import Basis
import Mirror
import Testing

@testable import Simulator

/// What the client of a simulated volume notices.
@Suite struct `A simulated client (NoStalePromotion)` {
    private let here = NodeID(1)
    private let there = NodeID(2)

    /// A client with one write under way; and the content with it and without it.
    private func writing() throws -> (workload: Workload, id: UInt64, with: [UInt64], without: [UInt64]) {
        var workload = Workload()
        var random = SeededRandom(seed: 1)
        while true {
            guard let (id, input, numbers) = workload.write(on: self.here, &random),
                case .write(_, let extent, _, _) = input
            else { continue }
            let without = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
            var with = without
            with[Int(extent.offset / SimulatedVolume.blockBytes)] = try #require(numbers.first)
            return (workload, id, with, without)
        }
    }

    @Test func `misses an acknowledged write`() throws {
        var (workload, id, with, without) = try self.writing()
        _ = workload.replied(id, true, at: 5)
        #expect(workload.promoted(self.there, without, at: 9) != nil)
        #expect(workload.promoted(self.there, with, at: 9) == nil)
    }

    @Test func `accepts either fate of a write that was never answered, but only one`() throws {
        var (first, _, with, without) = try self.writing()
        #expect(first.promoted(self.there, with, at: 5) == nil)
        #expect(first.promoted(self.here, without, at: 9)?.contains("acknowledged") == true)

        var second = try self.writing().workload
        #expect(second.promoted(self.there, without, at: 5) == nil)
        #expect(second.promoted(self.here, with, at: 9)?.contains("promoted before it") == true)
    }
}
