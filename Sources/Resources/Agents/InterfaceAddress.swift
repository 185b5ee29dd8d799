import Basis
import CLinux
import Glibc
import Host

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
    ///
    /// The kernel drops every route whose preferred source it was. Should that have been the way to the subnet itself, or to a
    /// gateway, as an agent may have made it, it is put back for an address that is still there: a node that gives up its
    /// service must not cut itself off from its cluster.
    func drop(from interface: String) -> Bool {
        for name in interface == "*" ? self.interfaces : [interface] {
            // The prefix may differ from what was asked for; the kernel wants the one that it has.
            let prefixes = Self.all().filter {
                $0.interface == name && $0.family == self.family && $0.bytes == self.bytes
            }.map(\.prefix)
            guard !prefixes.isEmpty else { continue }
            let routes = self.family == AF_INET ? InterfaceRoute.all(of: name) : []
            for prefix in prefixes { _ = holdfast_address_remove(name, self.family, self.bytes, Int32(prefix)) }
            self.restore(routes, of: name)
        }
        return interface == "*" ? self.interfaces.isEmpty : !self.interfaces.contains(interface)
    }

    private func restore(_ before: [InterfaceRoute], of interface: String) {
        let after = InterfaceRoute.all(of: interface)
        let lost = before.filter { !after.contains($0) }
        for route in lost where route.gateway == nil {
            let left = Self.all().first { entry in
                entry.interface == interface && entry.family == AF_INET && entry.bytes != self.bytes
                    && entry.prefix == route.prefix && route.contains(entry.bytes)
            }
            guard let left else { continue }
            _ = holdfast_connected_route_add(interface, route.subnet, Int32(route.prefix), left.bytes)
        }
        // After these: a gateway must be reachable. One that is not any more, the kernel refuses.
        for route in lost {
            guard let gateway = route.gateway else { continue }
            _ = holdfast_gateway_route_add(interface, route.subnet, Int32(route.prefix), gateway, route.metric)
        }
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

/// An IPv4 route through an interface: to a subnet that it is in, or by a gateway.
private struct InterfaceRoute: Equatable {
    let subnet: [UInt8]
    let prefix: Int
    let gateway: [UInt8]?
    let metric: UInt32

    func contains(_ address: [UInt8]) -> Bool {
        (0..<self.prefix).allSatisfy { bit in
            let mask = UInt8(0x80) >> UInt8(bit % 8)
            return self.subnet[bit / 8] & mask == address[bit / 8] & mask
        }
    }

    /// Those of one interface, in the kernel's main table.
    static func all(of interface: String) -> [InterfaceRoute] {
        (Files.text("/proc/thread-self/net/route") ?? "").split(separator: "\n").compactMap { line in
            let fields = line.split(whereSeparator: \.isWhitespace)
            // Interface, destination, gateway, flags, …, metric, mask: addresses as the machine has them in memory.
            guard fields.count > 7, fields[0] == interface, let gateway = UInt32(fields[2], radix: 16),
                let subnet = UInt32(fields[1], radix: 16), let metric = UInt32(fields[6]),
                let mask = UInt32(fields[7], radix: 16)
            else { return nil }
            func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number) { Array($0) } }
            return InterfaceRoute(
                subnet: bytes(subnet), prefix: mask.nonzeroBitCount, gateway: gateway == 0 ? nil : bytes(gateway),
                metric: metric)
        }
    }
}
