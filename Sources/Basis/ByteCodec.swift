/// Why bytes could not be decoded.
public enum CodecError: Error, Equatable, CustomStringConvertible {
    /// The input ended early, at this offset.
    case truncated(offset: Int)
    /// A value that the format does not allow, with the field's name.
    case invalid(field: String, offset: Int)
    /// Bytes were left over after the last field.
    case trailing(count: Int)
    /// Another release wrote it, in a version that this one does not read.
    case foreignVersion(Format, found: UInt32)
    /// The cluster has agreed on more than this release can do. (Rule U2)
    case foreignLevel(FeatureLevel, own: Release)

    /// One sentence for the log.
    public var description: String {
        switch self {
        case .truncated(let offset): "the message ends too early, at byte \(offset)"
        case .invalid(let field, let offset): "the field \(field) before byte \(offset) holds an impossible value"
        case .trailing(let count): "\(count) bytes follow the end of the message"
        case .foreignVersion(let format, let found): "it is \(format.flaw(found))"
        case .foreignLevel(let level, let own):
            "the cluster is at feature level \(level), and this release (\(own.version)) does \(own.level)"
        }
    }
}

/// Appends fields to a growing byte array. Integers are little-endian; strings and arrays carry a 32-bit count.
public struct ByteWriter: Sendable {
    /// What has been written.
    public private(set) var bytes: [UInt8]

    /// Starts empty.
    public init(reserving capacity: Int = 64) {
        self.bytes = []
        self.bytes.reserveCapacity(capacity)
    }

    /// Appends one byte.
    public mutating func uint8(_ value: UInt8) { self.bytes.append(value) }
    /// Appends a boolean as 0 or 1.
    public mutating func bool(_ value: Bool) { self.bytes.append(value ? 1 : 0) }
    /// Appends 2 bytes.
    public mutating func uint16(_ value: UInt16) { self.integer(value) }
    /// Appends 4 bytes.
    public mutating func uint32(_ value: UInt32) { self.integer(value) }
    /// Appends 8 bytes.
    public mutating func uint64(_ value: UInt64) { self.integer(value) }
    /// Appends bytes without a count.
    public mutating func raw(_ value: some Sequence<UInt8>) { self.bytes.append(contentsOf: value) }
    /// Appends a count and the bytes.
    public mutating func data(_ value: [UInt8]) {
        self.uint32(UInt32(value.count))
        self.bytes.append(contentsOf: value)
    }
    /// Appends a count and the UTF-8 bytes.
    public mutating func string(_ value: String) {
        let utf8 = value.utf8
        self.uint32(UInt32(utf8.count))
        self.bytes.append(contentsOf: utf8)
    }
    /// Appends a count, then each element by `write`.
    @inlinable
    public mutating func list<Values: Collection>(
        _ values: Values, _ write: (inout ByteWriter, Values.Element) -> Void
    ) {
        self.uint32(UInt32(values.count))
        for value in values { write(&self, value) }
    }
    /// Appends a presence byte, then the value by `write`.
    @inlinable
    public mutating func optional<Value>(_ value: Value?, _ write: (inout ByteWriter, Value) -> Void) {
        self.bool(value != nil)
        if let value { write(&self, value) }
    }

    private mutating func integer<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { self.bytes.append(contentsOf: $0) }
    }
}

/// Takes fields off a byte array, in the order in which `ByteWriter` put them.
public struct ByteReader: Sendable {
    private let bytes: ArraySlice<UInt8>
    /// Bytes consumed so far.
    public private(set) var offset: Int = 0

    /// Reads from the start of `bytes`.
    public init(_ bytes: [UInt8]) { self.bytes = bytes[...] }
    /// Reads from the start of a slice.
    public init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// Bytes not consumed yet.
    public var remaining: Int { self.bytes.count - self.offset }

    /// Takes one byte.
    public mutating func uint8() throws(CodecError) -> UInt8 { try self.integer() }
    /// Takes a boolean; anything but 0 and 1 is refused.
    public mutating func bool() throws(CodecError) -> Bool {
        let value: UInt8 = try self.integer()
        guard value <= 1 else { throw .invalid(field: "boolean", offset: self.offset) }
        return value == 1
    }
    /// Takes 2 bytes.
    public mutating func uint16() throws(CodecError) -> UInt16 { try self.integer() }
    /// Takes 4 bytes.
    public mutating func uint32() throws(CodecError) -> UInt32 { try self.integer() }
    /// Takes 8 bytes.
    public mutating func uint64() throws(CodecError) -> UInt64 { try self.integer() }
    /// Takes `count` bytes.
    public mutating func raw(_ count: Int) throws(CodecError) -> [UInt8] {
        guard count >= 0, count <= self.remaining else { throw .truncated(offset: self.offset) }
        let start = self.bytes.startIndex + self.offset
        self.offset += count
        return Array(self.bytes[start..<start + count])
    }
    /// Takes a count and that many bytes.
    public mutating func data() throws(CodecError) -> [UInt8] { try self.raw(Int(try self.uint32())) }
    /// Takes a count and that many bytes of UTF-8.
    public mutating func string() throws(CodecError) -> String {
        let count = Int(try self.uint32())
        guard count <= self.remaining else { throw .truncated(offset: self.offset) }
        let range = self.offset..<self.offset + count
        self.offset += count
        // What is no UTF-8 is repaired, and differs then; `String(validating:as:)` is several times as dear.
        let text = self.bytes.withUnsafeBufferPointer { bytes -> String? in
            let part = UnsafeBufferPointer(rebasing: bytes[range])
            let text = String(decoding: part, as: UTF8.self)
            return text.utf8.elementsEqual(part) ? text : nil
        }
        guard let text else { throw .invalid(field: "string", offset: self.offset) }
        return text
    }
    /// Takes a count and that many elements. A count that cannot fit the remaining bytes is refused at once.
    @inlinable
    public mutating func list<Element>(
        _ read: (inout ByteReader) throws(CodecError) -> Element
    ) throws(CodecError) -> [Element] {
        let count = Int(try self.uint32())
        guard count <= self.remaining else { throw .truncated(offset: self.offset) }
        var values: [Element] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try read(&self)) }
        return values
    }
    /// Takes a presence byte, and the value where it is 1.
    @inlinable
    public mutating func optional<Value>(
        _ read: (inout ByteReader) throws(CodecError) -> Value
    ) throws(CodecError) -> Value? {
        try self.bool() ? try read(&self) : nil
    }
    /// Throws unless everything was consumed.
    public func finish() throws(CodecError) {
        guard self.remaining == 0 else { throw .trailing(count: self.remaining) }
    }

    private mutating func integer<Value: FixedWidthInteger>() throws(CodecError) -> Value {
        let size = MemoryLayout<Value>.size
        guard size <= self.remaining else { throw .truncated(offset: self.offset) }
        let offset = self.offset
        self.offset += size
        return Value(
            littleEndian: self.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Value.self) })
    }
}
