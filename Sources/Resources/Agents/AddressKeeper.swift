import Basis
import CLinux
import Glibc
import Host
import Synchronization

/// Puts an address back at once when another program has taken it away: a manager of the network that is restarted removes what
/// it does not know. That is no failure of the group.
///
/// Only what is held is put back, and only while the lease lets it: whoever means to drop an address gives it up here first.
final class AddressKeeper: Sendable {
    private struct Held: Sendable {
        let address: InterfaceAddress
        let interface: String
    }

    private struct State {
        var held: [ExitWatcher.Key: Held] = [:]
        var isRunning = false
    }

    private let state = Mutex(State())
    private let environment: AgentEnvironment

    init(environment: AgentEnvironment) { self.environment = environment }

    /// From now on it stays, until it is given up.
    func hold(_ key: ExitWatcher.Key, _ address: InterfaceAddress, on interface: String) {
        let isFirst = self.state.withLock { state in
            state.held[key] = Held(address: address, interface: interface)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard isFirst else { return }
        SystemThread.demand("agent") {
            self.environment.threadSetup()
            self.watch()
        }
    }

    /// It is about to be dropped.
    func giveUp(_ key: ExitWatcher.Key) { self.state.withLock { $0.held[key] = nil } }

    /// All of a group are about to be dropped.
    func giveUp(group: GroupName) {
        self.state.withLock { state in
            for key in state.held.keys where key.group == group { state.held[key] = nil }
        }
    }

    /// Puts it back if it is held and missing; whether it is there then.
    func restore(_ key: ExitWatcher.Key) -> Bool {
        guard let held = self.state.withLock({ $0.held[key] }) else { return false }
        if held.address.interfaces.contains(held.interface) { return true }
        guard self.environment.mayHoldAddresses() else { return false }
        let code = holdfast_address_add(
            held.interface, held.address.family, held.address.bytes, Int32(held.address.prefix))
        // The lease may have ended, or a stop begun, between the question and the address.
        guard self.environment.mayHoldAddresses(), self.state.withLock({ $0.held[key] != nil }) else {
            _ = held.address.drop(from: held.interface)
            return false
        }
        guard code == 0 || code == EEXIST else { return false }
        _ = holdfast_address_announce(held.interface, held.address.family, held.address.bytes)
        self.environment.log(
            "\(key.group)/\(key.resource): another program took the address away from \(held.interface); it is back")
        return true
    }

    private func watch() {
        let events = holdfast_address_events()
        guard events >= 0 else {
            return self.environment.log(
                "addresses that other programs take away are noticed at the next check only: \(SystemText.error(-events))"
            )
        }
        while holdfast_address_events_wait(events) == 0 {
            let keys = self.state.withLock { $0.held.keys.sorted { ($0.group, $0.resource) < ($1.group, $1.resource) } }
            for key in keys { _ = self.restore(key) }
        }
        close(events)
    }
}
