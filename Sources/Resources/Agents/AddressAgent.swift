import Basis
import CLinux
import Glibc
import Host
import Resources

/// Holds an address on an interface and tells the neighbours that it is here now.
struct AddressAgent: ResourceAgent {
    /// After the first announcement, which comes at once: packets get lost, and switches learn late.
    private static let repetitions: [UInt64] = [100, 400, 500, 1000, 2000]

    /// How long a check listens for another machine that has the address.
    private static let listening = Span.milliseconds(100)

    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let (address, text) = try self.address(context)
        let interface = try self.interface(address, context)
        guard holdfast_interface_up(interface) >= 0 else {
            throw .hard("there is no interface \(interface) on this node: correct `interface`, or create it")
        }
        // The guard must know of it before it exists. (Rule L12)
        do {
            try context.records.write(
                .addresses,
                RunRecords.Holding(
                    group: context.call.group.rawValue, resource: context.call.resource.name.rawValue,
                    words: [text, interface]))
        } catch {
            throw .soft(error)
        }
        let code = holdfast_address_add(interface, address.family, address.bytes, Int32(address.prefix))
        guard code == 0 || code == EEXIST else {
            throw .soft("could not add \(text) to \(interface): \(SystemText.error(code))")
        }
        if context.cancel.isCancelled { throw .cancelled }
        context.addresses.hold(context.key, address, on: interface)
        self.announce(address, interface, context)
        return .success
    }

    private func announce(_ address: InterfaceAddress, _ interface: String, _ context: CallContext) {
        let code = holdfast_address_announce(interface, address.family, address.bytes)
        if code == ENOTSUP { return }
        if code != 0 { context.log("could not announce the address on \(interface): \(SystemText.error(code))") }
        let setup = context.environment.threadSetup
        SystemThread.demand("agent") {
            setup()
            for milliseconds in Self.repetitions {
                SystemThread.sleep(.milliseconds(UInt64(milliseconds)))
                // Never announce what is no longer here: another node may have it.
                guard address.interfaces.contains(interface) else { return }
                _ = holdfast_address_announce(interface, address.family, address.bytes)
            }
        }
    }

    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let group = context.call.group
        let name = context.call.resource.name
        context.addresses.giveUp(context.key)
        var places: [(InterfaceAddress, String)] = []
        if let words = context.records.holding(.addresses, group, name)?.words, words.count >= 2,
            let address = InterfaceAddress(words[0])
        {
            places.append((address, words[1]))
        }
        // No record and no readable parameters: there is nothing that we could have added.
        if let (address, _) = try? self.address(context) {
            if let interface = context.parameter("interface") {
                places.append((address, interface))
            } else if places.isEmpty {
                places.append((address, "*"))
            }
        }
        for (address, interface) in places {
            guard address.drop(from: interface) else {
                throw .hard("could not remove the address from \(interface): remove it with `ip address del`")
            }
        }
        context.records.remove(.addresses, group, name)
        return .success
    }

    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let (address, text) = try self.address(context)
        let interface = try self.interface(address, context)
        guard address.interfaces.contains(interface) || context.addresses.restore(context.key) else {
            return .notRunning
        }
        guard holdfast_interface_up(interface) == 1 else {
            throw .hard("the interface \(interface) is down or has no carrier")
        }
        // The address is put up without duplicate address detection, which would cost a takeover a second: whether another
        // machine has it too is asked at every check.
        if let other = self.conflict(address, on: interface) {
            return .degraded(
                reason: "another machine on the link of \(interface), \(other), has \(text) too: take it away there")
        }
        return .success
    }

    /// The hardware address of another machine that has the address too; nil when none answers.
    private func conflict(_ address: InterfaceAddress, on interface: String) -> String? {
        var other = [UInt8](repeating: 0, count: 6)
        let found = holdfast_address_conflict(
            interface, address.family, address.bytes, Int32(clamping: Self.listening.milliseconds), &other)
        guard found == 1 else { return nil }
        return other.map { $0.hexadecimal(digits: 2) }.joined(separator: ":")
    }

    func probe(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let (address, _) = try self.address(context)
        guard let interface = context.parameter("interface") else {
            return address.interfaces.isEmpty ? .notRunning : .success
        }
        return address.interfaces.contains(interface) ? .success : .notRunning
    }

    private func address(_ context: CallContext) throws(CallInterruption) -> (InterfaceAddress, String) {
        let text = try context.required("address")
        guard let address = InterfaceAddress(text) else {
            throw .fatal("`address: \(text)` is not an address with a prefix length, such as 10.9.0.100/24")
        }
        return (address, text)
    }

    private func interface(
        _ address: InterfaceAddress, _ context: CallContext
    ) throws(CallInterruption) -> String {
        if let name = context.parameter("interface") { return name }
        if let words = context.records.holding(.addresses, context.call.group, context.call.resource.name)?.words,
            words.count >= 2
        {
            return words[1]
        }
        guard let name = address.natural else {
            // It may come back in a moment: a manager of the network that restarts takes it away and puts it back.
            throw .soft("no interface of this node is in the subnet of this address now: name one by `interface`")
        }
        return name
    }
}
