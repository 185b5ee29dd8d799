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
            guard let (id, input, numbers) = workload.write(on: self.here, &random, at: 4),
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
        _ = workload.replied(id, true)
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

    @Test func `misses an acknowledged write where a reader is shown something older`() throws {
        var (workload, id, with, without) = try self.writing()
        var random = SeededRandom(seed: 2)
        func isNoticed(_ content: [UInt64]) -> Bool {
            (0..<5000).contains { _ in workload.read(content, on: self.here, &random) != nil }
        }
        #expect(!isNoticed(without), "it is not answered yet")
        workload.replied(id, true)
        #expect(isNoticed(without))
        #expect(!isNoticed(with))
    }

    @Test func `forgives a copy what another one lost with its power, once that one was copied to it`() throws {
        var (workload, id, _, without) = try self.writing()
        workload.replied(id, true)
        workload.nodeLostPower(self.here, at: 6)
        #expect(workload.promoted(self.there, without, at: 9) != nil)
        workload.madeEqual(self.there, to: self.here)
        #expect(workload.promoted(self.there, without, at: 9) == nil)
    }

    @Test func `forgives a copy that lost its power after it took a write, before the client was answered`() throws {
        var (workload, id, _, without) = try self.writing()
        workload.nodeLostPower(self.there, at: 5)
        workload.replied(id, true)
        #expect(workload.promoted(self.there, without, at: 9) == nil)
    }

    @Test func `misses a write that was issued after the copy lost its power`() throws {
        var workload = Workload()
        workload.nodeLostPower(self.there, at: 3)
        var random = SeededRandom(seed: 1)
        while true {
            guard let (id, input, _) = workload.write(on: self.here, &random, at: 4), case .write = input else {
                continue
            }
            workload.replied(id, true)
            break
        }
        let without = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
        #expect(workload.promoted(self.there, without, at: 9)?.contains("acknowledged") == true)
    }

    @Test func `lets a copy that nobody was served from decide nothing`() throws {
        var (workload, _, with, without) = try self.writing()
        #expect(workload.objection(to: self.there, without) == nil)
        #expect(workload.promoted(self.here, with, at: 9) == nil)
    }

    @Test func `holds the later of two writes of one block, whichever is answered first`() {
        var workload = Workload(writersPerBlock: 2)
        var random = SeededRandom(seed: 1)
        var first: [Extent: (id: UInt64, number: UInt64)] = [:]
        while true {
            guard let (id, input, numbers) = workload.write(on: self.here, &random, at: 4),
                case .write(_, let extent, _, _) = input, let number = numbers.first
            else { continue }
            guard let earlier = first[extent] else {
                first[extent] = (id, number)
                continue
            }
            workload.replied(id, true)
            workload.replied(earlier.id, true)
            var content = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
            content[Int(extent.offset / SimulatedVolume.blockBytes)] = earlier.number
            #expect(workload.promoted(self.there, content, at: 9)?.contains("acknowledged was \(number)") == true)
            return
        }
    }
}
