import Basis
import Testing

@Suite struct `Basis keeps its promises` {
    @Test func `the checksum of the standard vector is E3069283`() {
        #expect(Checksum.crc32c(Array("123456789".utf8)) == 0xE306_9283)
    }

    @Test func `a checksum can be continued from any cut`() {
        let bytes = (0..<100).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        let whole = Checksum.crc32c(bytes)
        for cut in 0...100 {
            let first = Checksum.crc32c(Array(bytes[..<cut]))
            #expect(Checksum.crc32c(Array(bytes[cut...]), seed: first) == whole)
        }
    }

    @Test func `what was written is read back and nothing is left over`() throws {
        var writer = ByteWriter()
        writer.uint64(.max)
        writer.string("tok-1")
        writer.list([UInt16(1), 2]) { $0.uint16($1) }
        writer.optional(UInt8(7)) { $0.uint8($1) }
        var reader = ByteReader(writer.bytes)
        #expect(try reader.uint64() == .max)
        #expect(try reader.string() == "tok-1")
        #expect(try reader.list { (reader) throws(CodecError) in try reader.uint16() } == [1, 2])
        #expect(try reader.optional { (reader) throws(CodecError) in try reader.uint8() } == 7)
        try reader.finish()
    }

    @Test func `every truncation of a message is refused`() {
        var writer = ByteWriter()
        writer.uint32(9)
        writer.string("osaka")
        for length in 0..<writer.bytes.count {
            var reader = ByteReader(Array(writer.bytes[..<length]))
            #expect(throws: CodecError.self) {
                _ = try reader.uint32()
                _ = try reader.string()
            }
        }
    }

    @Test func `the same seed gives the same sequence`() {
        var first = SeededRandom(seed: 42)
        var second = SeededRandom(seed: 42)
        for _ in 0..<100 { #expect(first.next() == second.next()) }
    }

    @Test func `lengthening a span rounds up`() {
        #expect(Span(nanoseconds: 1).lengthened(partsPerMillion: 1) == Span(nanoseconds: 2))
        #expect(Span.seconds(1).lengthened(partsPerMillion: 1000) == Span.milliseconds(1001))
    }

    @Test func `a sorted list finds each of its keys, and no other, in few comparisons`() {
        for count in [0, 1, 2, 3, 7, 8, 1000] {
            let list = (0..<count).map { (key: $0 * 2, name: "n\($0)") }
            for place in 0..<count {
                var looks = 0
                let found = list.place(of: place * 2) { element in
                    looks += 1
                    return element.key
                }
                #expect(found == place)
                #expect(looks <= 12)
                #expect(list.place(of: place * 2 + 1, by: \.key) == nil)
                #expect(list.insertion(of: place * 2 - 1, by: \.key) == place)
            }
            #expect(list.insertion(of: count * 2, by: \.key) == count)
        }
    }
}
