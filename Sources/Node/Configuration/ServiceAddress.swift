/// Says which IP addresses can never be a service's.
enum ServiceAddress {
    /// Why nobody could reach a service at this address (4 or 16 bytes) of a network with this prefix length; nil if it may
    /// be one.
    static func flaw(of address: [UInt8], prefix: Int) -> String? {
        let special = address.count == 4 ? self.special4(address) : self.special6(address)
        if let special { return special }
        // Networks of one and two addresses have neither; of IPv6 the lowest address belongs to the routers.
        guard prefix < address.count * 8 - 1 else { return nil }
        let host = self.hostBits(address, prefix: prefix)
        if host.allSatisfy({ !$0 }) {
            return address.count == 4 ? "it is the network itself" : "it belongs to the routers of the network"
        }
        if address.count == 4, host.allSatisfy({ $0 }) { return "it is the broadcast address of the network" }
        return nil
    }

    private static func special4(_ address: [UInt8]) -> String? {
        switch address[0] {
        case 0: "it means this machine itself"
        case 127: "it is a loopback address"
        case 224..<240: "it is a multicast address"
        case 240...: address == [255, 255, 255, 255] ? "it means every machine" : "it is reserved"
        default: nil
        }
    }

    private static func special6(_ address: [UInt8]) -> String? {
        let isLow = address.dropLast().allSatisfy { $0 == 0 }
        if isLow, address[15] == 0 { return "it means this machine itself" }
        if isLow, address[15] == 1 { return "it is the loopback address" }
        if address[0] == 0xFF { return "it is a multicast address" }
        if address[..<10].allSatisfy({ $0 == 0 }), address[10] == 0xFF, address[11] == 0xFF {
            return "it is an IPv4 address in other words"
        }
        return nil
    }

    private static func hostBits(_ address: [UInt8], prefix: Int) -> [Bool] {
        (prefix..<address.count * 8).map { address[$0 / 8] & (0x80 >> UInt8($0 % 8)) != 0 }
    }
}
