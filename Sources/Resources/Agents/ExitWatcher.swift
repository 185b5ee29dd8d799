import Basis
import CLinux
import Glibc
import Host
import Synchronization

/// One thread that waits for the ends of all services (pidfd), so that an exit is noticed at once.
final class ExitWatcher: Sendable {
    /// A resource's place in the tables.
    struct Key: Hashable, Sendable {
        let group: GroupName
        let resource: ResourceName
    }

    private struct Watched {
        let epoch: Epoch
        let descriptor: Int32
        let expected: Bool
    }

    private struct State {
        var services: [Key: Watched] = [:]
        /// Processes that were given up on; only to be reaped.
        var orphans: [Int32] = []
        var running = false
    }

    private let state = Mutex(State())
    private let wake: (reader: Int32, writer: Int32)
    private let ended: @Sendable (Key, Epoch, ProcessEnd) -> Void

    /// `ended` is called on the watcher's thread for every end that nobody expected.
    init(ended: @escaping @Sendable (Key, Epoch, ProcessEnd) -> Void) {
        var ends: [Int32] = [-1, -1]
        let code = holdfast_pipe(&ends, 1)
        precondition(code == 0, "no pipe could be made: \(SystemText.error(code)); raise the limit of open files")
        self.wake = (ends[0], ends[1])
        self.ended = ended
    }

    /// Watches a process from now on and takes its descriptor over; an earlier one of the same resource is dropped.
    func watch(_ key: Key, epoch: Epoch, descriptor: Int32) {
        let (before, start) = self.state.withLock { state in
            let before = state.services.updateValue(
                Watched(epoch: epoch, descriptor: descriptor, expected: false), forKey: key)
            if let before { state.orphans.append(before.descriptor) }
            defer { state.running = true }
            return (before, !state.running)
        }
        _ = before
        if start { SystemThread.demand("agent") { self.loop() } } else { self.poke() }
    }

    /// The end of this service, when it comes, is what somebody asked for.
    func expectEnd(_ key: Key) {
        self.state.withLock { state in
            guard let watched = state.services[key] else { return }
            state.services[key] = Watched(epoch: watched.epoch, descriptor: watched.descriptor, expected: true)
        }
    }

    /// Every service of a group is about to be killed.
    func expectEnds(of group: GroupName) {
        for key in self.state.withLock({ Array($0.services.keys) }) where key.group == group { self.expectEnd(key) }
    }

    /// A process that its call could not wait for: takes the descriptor over and reaps it one day.
    func abandon(_ descriptor: Int32) {
        let start = self.state.withLock { state in
            state.orphans.append(descriptor)
            defer { state.running = true }
            return !state.running
        }
        if start { SystemThread.demand("agent") { self.loop() } } else { self.poke() }
    }

    /// The resource's main process is being watched.
    func isWatching(_ key: Key) -> Bool { self.state.withLock { $0.services[key] != nil } }

    private func poke() {
        var byte: UInt8 = 1
        _ = write(self.wake.writer, &byte, 1)
    }

    private func loop() {
        while true {
            let descriptors = self.state.withLock { state in
                state.services.values.map(\.descriptor) + state.orphans
            }
            var requests = ([self.wake.reader] + descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&requests, nfds_t(requests.count), -1)
            var drain = [UInt8](repeating: 0, count: 64)
            while read(self.wake.reader, &drain, drain.count) > 0 {}
            for request in requests.dropFirst() where request.revents != 0 { self.finish(request.fd) }
        }
    }

    private func finish(_ descriptor: Int32) {
        guard let end = ProcessEnd.of(descriptor) else { return }
        let found = self.state.withLock { state -> (Key, Watched)? in
            state.orphans.removeAll { $0 == descriptor }
            guard let found = state.services.first(where: { $0.value.descriptor == descriptor }) else { return nil }
            state.services[found.key] = nil
            return (found.key, found.value)
        }
        close(descriptor)
        if let (key, watched) = found, !watched.expected { self.ended(key, watched.epoch, end) }
    }
}
