import Basis
import CLinux
import Glibc

/// An address with its prefix length, as `10.9.0.100/24` or `fd00::1/64`.
struct InterfaceAddress: Equatable, Sendable {
    let family: Int32
    let bytes: [UInt8]
    let prefix: Int

    /// Parses CIDR notation; nil for anything else. A missing prefix means the single address where `bare` allows it.
    init?(_ text: String, bare: Bool = false) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 || (bare && parts.count == 1) else { return nil }
        let family = parts[0].contains(":") ? AF_INET6 : AF_INET
        var bytes = [UInt8](repeating: 0, count: family == AF_INET ? 4 : 16)
        guard inet_pton(family, String(parts[0]), &bytes) == 1 else { return nil }
        let prefix = parts.count == 2 ? Int(parts[1]) : bytes.count * 8
        guard let prefix, (1...bytes.count * 8).contains(prefix) else { return nil }
        self.family = family
        self.bytes = bytes
        self.prefix = prefix
    }

    /// The interfaces of this machine that have it.
    var interfaces: [String] {
        Self.all().filter { $0.family == self.family && $0.bytes == self.bytes }.map(\.interface)
    }

    /// The interface with the narrowest subnet that contains it.
    var natural: String? {
        Self.all().filter { other in
            other.family == self.family && other.prefix < other.bytes.count * 8 && self.isInside(other)
        }.max { $0.prefix < $1.prefix }?.interface
    }

    /// Removes it from an interface (`*`: from whichever has it); true when it is certainly gone.
    func drop(from interface: String) -> Bool {
        for name in interface == "*" ? self.interfaces : [interface] {
            // The prefix may differ from what was asked for; the kernel wants the one that it has.
            let prefixes = Self.all().filter {
                $0.interface == name && $0.family == self.family && $0.bytes == self.bytes
            }.map(\.prefix)
            for prefix in prefixes { _ = holdfast_address_remove(name, self.family, self.bytes, Int32(prefix)) }
        }
        return interface == "*" ? self.interfaces.isEmpty : !self.interfaces.contains(interface)
    }

    private struct Entry {
        var family: Int32
        var bytes: [UInt8]
        var prefix: Int
        var interface: String
    }

    private func isInside(_ other: Entry) -> Bool {
        (0..<other.prefix).allSatisfy { bit in
            let mask = UInt8(0x80) >> UInt8(bit % 8)
            return self.bytes[bit / 8] & mask == other.bytes[bit / 8] & mask
        }
    }

    private static func all() -> [Entry] {
        var raw = [holdfast_interface_address](repeating: holdfast_interface_address(), count: 1024)
        let count = holdfast_addresses(&raw, Int32(raw.count))
        return raw.prefix(max(0, Int(count))).map { entry in
            let bytes = withUnsafeBytes(of: entry.bytes) { Array($0.prefix(entry.family == AF_INET ? 4 : 16)) }
            let name = withUnsafeBytes(of: entry.interface) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            return Entry(family: entry.family, bytes: bytes, prefix: Int(entry.prefix), interface: name)
        }
    }
}
