import Basis

/// Something that only one group may hold at a time. It belongs to an assignment: to a group, an epoch and a life of a
/// node. (Rule B5)
///
/// Texts are compared in one spelling: `10.0.0.5/24` is `10.0.0.5`, `fd00:0:0::1` is `fd00::1`, `/srv//a/` is `/srv/a`.
public struct Claim: Hashable, Comparable, Sendable {
    /// What is claimed.
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// A network address; there is one in the network.
        case address
        /// A mirrored volume; its copies have one owner.
        case volume
        /// A disk that several nodes may reach.
        case device
        /// A directory of a node, with all below it.
        case mount
        /// What runs, as its agent was told: the same under another name is the same service.
        case service
    }
    /// What is claimed.
    public var kind: Kind
    /// Which, in its one spelling.
    public var text: String

    /// A claim from its parts; `text` is taken as it is.
    public init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    /// By kind, then by text.
    public static func < (left: Claim, right: Claim) -> Bool {
        (left.kind.rawValue, left.text) < (right.kind.rawValue, right.text)
    }

    /// It can be held by one group in the whole cluster. Directories are a node's own, and two groups may be told to run
    /// the same command.
    public var isExclusive: Bool {
        switch self.kind {
        case .address, .volume, .device: true
        case .mount, .service: false
        }
    }

    /// Whether both cannot be held at once where they meet: they are the same, or one directory lies in the other.
    public func meets(_ other: Claim) -> Bool {
        guard self.kind == other.kind else { return false }
        guard self.kind == .mount else { return self.text == other.text }
        return Self.path(self.text, contains: other.text) || Self.path(other.text, contains: self.text)
    }

    private static func path(_ outer: String, contains inner: String) -> Bool {
        inner == outer || inner.hasPrefix(outer == "/" ? "/" : outer + "/")
    }

    /// `the address 10.9.0.100`, for sentences.
    public var words: String {
        switch self.kind {
        case .address: "the address \(self.text)"
        case .volume: "the volume \(self.text)"
        case .device: "the device \(self.text)"
        case .mount: "the directory \(self.text)"
        case .service: "the service `\(self.text.prefix(60))`"
        }
    }
}

extension Claim {
    /// What a group of these resources holds while it runs; sorted, each once.
    public static func all(of resources: [ResourcePolicy]) -> [Claim] {
        var all: [Claim] = []
        for resource in resources {
            for claim in self.claims(of: resource) where !all.contains(claim) { all.append(claim) }
        }
        return all.sorted()
    }

    /// What one resource holds.
    public static func claims(of resource: ResourcePolicy) -> [Claim] {
        func claim(_ kind: Kind, _ key: String, _ spelling: (String) -> String = { $0 }) -> Claim? {
            resource.parameter(key).map { Claim(kind, spelling($0)) }
        }
        switch resource.kind {
        case .volume(let name): return [Claim(.volume, name.rawValue)]
        case .address: return [claim(.address, "address", self.address)].compactMap { $0 }
        case .filesystem:
            return [claim(.mount, "mount", self.path), claim(.device, "device", self.path)].compactMap { $0 }
        case .exec: return [claim(.service, "command", self.words)].compactMap { $0 }
        case .ocf(_, "IPaddr2"), .ocf(_, "IPaddr"), .ocf(_, "IPv6addr"):
            return [claim(.address, "ip", self.address) ?? claim(.address, "ipv6addr", self.address)].compactMap { $0 }
        case .ocf(_, "Filesystem"):
            return [claim(.mount, "directory", self.path), claim(.device, "device", self.path)].compactMap { $0 }
        case .ocf, .unknown:
            let told = resource.parameters.map { "\($0.key)=\(self.words($0.value))" }.joined(separator: " ")
            return [Claim(.service, told.isEmpty ? resource.agent : "\(resource.agent) \(told)")]
        }
    }

    // MARK: Spellings

    /// An address without its prefix length, in the one spelling of its kind; what is no address, as it is.
    static func address(_ text: String) -> String {
        if let plain = self.plainAddress(text) { return plain }
        var bare = text.prefix { $0 != "/" }
        if bare.first == "[", bare.last == "]" { bare = bare.dropFirst().dropLast() }
        if let bytes = self.version4(bare) { return bytes.map(String.init).joined(separator: ".") }
        guard let groups = self.version6(bare.prefix { $0 != "%" }) else { return String(bare) }
        // An IPv4 address written as IPv6 is that IPv4 address.
        if groups[..<5].allSatisfy({ $0 == 0 }), groups[5] == 0xFFFF {
            return [groups[6] >> 8, groups[6] & 0xFF, groups[7] >> 8, groups[7] & 0xFF].map(String.init)
                .joined(separator: ".")
        }
        return groups.map { String($0, radix: 16) }.joined(separator: ":")
    }

    /// The address in a text of IPv4 that is in its one spelling already, as nearly all are; nil for any other.
    private static func plainAddress(_ text: String) -> String? {
        var (parts, digits, value) = (1, 0, 0)
        var hasEnded = false
        for byte in text.utf8 {
            guard byte < 0x80 else { return nil }
            if hasEnded { continue }
            switch byte {
            case 0x30...0x39:
                guard digits == 0 || value > 0 else { return nil }
                digits += 1
                value = value * 10 + Int(byte - 0x30)
                guard value < 256 else { return nil }
            case 0x2E where digits > 0:
                (parts, digits, value) = (parts + 1, 0, 0)
            case 0x2F: hasEnded = true
            default: return nil
            }
        }
        guard parts == 4, digits > 0 else { return nil }
        return hasEnded ? String(text.prefix { $0 != "/" }) : text
    }

    private static func version4(_ text: Substring) -> [UInt16]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        let bytes = parts.compactMap { part -> UInt16? in
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            return UInt16(part).flatMap { $0 < 256 ? $0 : nil }
        }
        return bytes.count == 4 ? bytes : nil
    }

    private static func version6(_ text: Substring) -> [UInt16]? {
        var halves: [[UInt16]] = []
        var rest = text
        while true {
            var end = rest.endIndex
            var place = rest.startIndex
            while place < rest.endIndex {
                let next = rest.index(after: place)
                if rest[place] == ":", next < rest.endIndex, rest[next] == ":" {
                    end = place
                    break
                }
                place = next
            }
            guard let half = self.groups(rest[..<end]), halves.count < 2 else { return nil }
            halves.append(half)
            if end == rest.endIndex { break }
            rest = rest[rest.index(end, offsetBy: 2)...]
        }
        let count = halves.reduce(0) { $0 + $1.count }
        if halves.count == 1 { return count == 8 ? halves[0] : nil }
        guard count < 8 else { return nil }
        return halves[0] + [UInt16](repeating: 0, count: 8 - count) + halves[1]
    }

    private static func groups(_ text: Substring) -> [UInt16]? {
        if text.isEmpty { return [] }
        var found: [UInt16] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, let bytes = self.version4(part) {
                found += [bytes[0] << 8 | bytes[1], bytes[2] << 8 | bytes[3]]
            } else if (1...4).contains(part.utf8.count), let group = UInt16(part, radix: 16), part.first != "+" {
                found.append(group)
            } else {
                return nil
            }
        }
        return found
    }

    /// A path without doubled or trailing slashes, `.` and `..`; what is no absolute path, as it is.
    static func path(_ text: String) -> String {
        guard text.hasPrefix("/") else { return text }
        var parts: [Substring] = []
        for part in text.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// Words with one space between them.
    static func words(_ text: String) -> String {
        // Nearly all are one line of ASCII, for which nobody needs to know the properties of characters.
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
            if self.isSpacedOnce(text.utf8) { return text }
            return text.utf8.split(separator: 0x20).map { String(Substring($0)) }.joined(separator: " ")
        }
        return text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// No blank comes first, last, or after another one.
    private static func isSpacedOnce(_ text: String.UTF8View) -> Bool {
        var last = UInt8(0x20)
        for byte in text {
            if byte == 0x20, last == 0x20 { return false }
            last = byte
        }
        return last != 0x20
    }
}
