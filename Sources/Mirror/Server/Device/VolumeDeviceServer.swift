import Basis
import CLinux
import Glibc
import Host
import Mirror

/// Shows a volume's export to the kernel, as a device of its own or as a file for a loop device: the shell around
/// `VolumeDevice`, one thread that waits for the kernel, the volume server, the clock and signals at once and never for one
/// of them alone.
public final class VolumeDeviceServer {
    /// Messages of the kernel taken before the volume server is looked at again.
    private static let messagesMax = 64

    private let options: VolumeDeviceOptions
    private let log: (String) -> Void
    private let signals: Int32
    private var device: VolumeDevice
    private var effects: [VolumeDevice.Effect] = []
    private var events: [NBDClientLink.Event] = []
    private var pool = DeviceBufferPool()
    private var held: [VolumeDevice.RequestID: HeldRequest] = [:]
    private var link: NBDClientLink?
    private var channel: (any DeviceChannel)?
    private var isReady = false
    /// Why there is no connection, for the last message.
    private var lastDrop = "nothing was tried"

    /// Runs for the rest of the process's life, and ends it when the mount is gone or a signal asks for it. Must be the
    /// process's only thread. `log` gets sentences.
    public static func run(
        _ options: VolumeDeviceOptions, log: @escaping (String) -> Void
    ) throws(VolumeDeviceError) -> Never {
        signal(SIGPIPE, SIG_IGN)
        holdfast_name_thread("volume-device")
        self.becomeHardToKill(log)
        let signals = holdfast_termination_signals()
        guard signals >= 0 else { throw .system(what: "signals cannot be waited for", errno: errno) }
        let server = VolumeDeviceServer(options, signals: signals, log: log)
        while true { try server.turn() }
    }

    private static func becomeHardToKill(_ log: (String) -> Void) {
        let adjust = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)
        let isAdjusted = adjust >= 0 && write(adjust, "-900", 4) == 4
        if !isAdjusted { log("may be killed when memory runs out: \(SystemText.error(errno))") }
        if adjust >= 0 { close(adjust) }
        // What the kernel swaps out or writes back may come through this process: it must wait for neither.
        let locked = holdfast_lock_touched_memory()
        if locked != 0 { log("may be swapped out: \(SystemText.error(locked))") }
        let flusher = holdfast_never_wait_for_writeback()
        if flusher != 0 { log("may wait for its own volume when memory is short: \(SystemText.error(flusher))") }
    }

    private init(_ options: VolumeDeviceOptions, signals: Int32, log: @escaping (String) -> Void) {
        self.options = options
        self.signals = signals
        self.log = log
        var tuning = VolumeDevice.Tuning()
        tuning.deadTime = options.deadTime
        self.device = VolumeDevice(tuning, at: MachineClock.now)
    }

    /// Waits for whatever comes first and deals with all that has come.
    private func turn() throws(VolumeDeviceError) {
        var waits = [
            pollfd(fd: self.signals, events: Int16(POLLIN), revents: 0),
            pollfd(fd: self.channel?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
            pollfd(fd: -1, events: Int16(POLLIN), revents: 0),
        ]
        if let link = self.link {
            waits[2].fd = link.descriptor
            if link.wantsToSend { waits[2].events |= Int16(POLLOUT) }
        }
        let wake = self.device.wakeAt
        let left = wake.since(MachineClock.now)
        let milliseconds = wake == .never ? -1 : Int32(min(left.milliseconds + 1, 60_000))
        let hasMore = self.channel?.hasMore == true
        let count = poll(&waits, nfds_t(waits.count), hasMore || (left == .zero && wake != .never) ? 0 : milliseconds)
        if count > 0 {
            if waits[0].revents != 0, holdfast_take_signal(self.signals) != 0 { self.leave(0) }
            if waits[2].revents != 0 { try self.hear() }
        }
        if hasMore || (count > 0 && waits[1].revents != 0) { try self.serveKernel() }
        if MachineClock.now >= self.device.wakeAt { try self.step(.tick) }
        try self.sendQueued()
    }

    private func leave(_ code: Int32) -> Never {
        unlink(self.options.ready)
        self.channel?.end()
        exit(code)
    }

    /// Takes in what the volume server sent.
    private func hear() throws(VolumeDeviceError) {
        guard let link = self.link else { return }
        var drop: NBDDrop?
        self.events.removeAll(keepingCapacity: true)
        do throws(NBDDrop) {
            try link.receive({ self.held[$0] }, into: &self.events)
        } catch {
            drop = error
        }
        let events = self.events
        for event in events where self.link === link {
            switch event {
            case .connected(let export): try self.connected(link, export)
            case .answered(let id, let failure): try self.step(.answered(link.id, id, failure))
            }
        }
        if let drop, self.link === link { try self.drop(link, drop) }
    }

    private func connected(_ link: NBDClientLink, _ export: NBDClientHandshake.Export) throws(VolumeDeviceError) {
        let waiting = self.device.waitingCount
        let before = self.device.sizeBytes
        try self.step(.connected(link.id, sizeBytes: export.sizeBytes))
        guard self.isReady, self.link === link else { return }
        self.lastDrop = ""
        self.log("connected again: \(waiting) requests are sent again")
        guard self.device.sizeBytes > before, let channel = self.channel else { return }
        if let failure = channel.resize(to: self.device.sizeBytes) {
            self.log("\(channel.path) keeps the size that it had: \(failure)")
        }
    }

    private func sendQueued() throws(VolumeDeviceError) {
        guard let link = self.link, link.wantsToSend else { return }
        do throws(NBDDrop) {
            try link.flush()
        } catch {
            try self.drop(link, error)
        }
    }

    private func drop(_ link: NBDClientLink, _ drop: NBDDrop) throws(VolumeDeviceError) {
        self.say(drop.reason)
        self.link = nil
        try self.step(.disconnected(link.id))
    }

    /// The same words are not repeated with each attempt.
    private func say(_ reason: String) {
        if reason != self.lastDrop { self.log(reason) }
        self.lastDrop = reason
    }

    /// Steps the core and does what it asks for, and what comes of that.
    private func step(_ input: VolumeDevice.Input) throws(VolumeDeviceError) {
        self.effects.removeAll(keepingCapacity: true)
        self.device.step(input, at: MachineClock.now, into: &self.effects)
        let effects = self.effects
        for effect in effects { try self.perform(effect) }
    }

    private func perform(_ effect: VolumeDevice.Effect) throws(VolumeDeviceError) {
        switch effect {
        case .connect(let id):
            do throws(NBDDrop) {
                self.link = try NBDClientLink(id, path: self.options.socket)
            } catch {
                self.say(error.reason)
                try self.step(.disconnected(id))
            }
        case .disconnect(let id, let reason):
            self.say(reason)
            if self.link?.id == id { self.link = nil }
        case .send(let id, let operation): self.send(id, operation)
        case .answer(let id, let outcome): self.answer(id, outcome)
        case .serve: try self.show()
        case .giveUp:
            throw .noServer(socket: self.options.socket, self.options.deadTime, last: self.lastDrop)
        case .note(let note): self.log(note.description)
        }
    }

    private func send(_ id: VolumeDevice.RequestID, _ operation: VolumeDevice.Operation) {
        guard let link = self.link else { preconditionFailure("something is sent without a connection") }
        if case .read(let extent) = operation, self.held[id]?.buffer == nil {
            let count = Int(extent.length)
            self.held[id]?.buffer = self.pool.take(count)
            self.held[id]?.count = count
            self.held[id]?.isRead = true
        }
        guard let held = self.held[id] else { preconditionFailure("something is sent that the kernel did not ask") }
        link.queue(id, operation, held)
    }
}

extension VolumeDeviceServer {
    /// The first connection stands: the volume can be used.
    private func show() throws(VolumeDeviceError) {
        switch self.options.carrier {
        case .file(let directory): self.channel = try FuseChannel(directory: directory, memory: &self.pool)
        case .networkBlockDevice(let backend):
            self.channel = try NBDKernelChannel(sizeBytes: self.device.sizeBytes, backend: backend)
        }
        if self.channel?.isReady == true { try self.becomeReady() }
    }

    /// Takes messages of the kernel until there are no more for now.
    private func serveKernel() throws(VolumeDeviceError) {
        for _ in 0..<Self.messagesMax {
            guard let channel = self.channel else { return }
            switch try channel.receive(sizeBytes: self.device.sizeBytes, memory: &self.pool) {
            case .empty: return
            case .handled: break
            case .ended(let reason):
                if let reason { self.log("the kernel ended \(channel.path): \(reason)") }
                self.leave(reason == nil ? 0 : 1)
            case .request(let id, let operation, let held):
                self.held[id] = held
                try self.step(.request(id, operation))
            }
            if !self.isReady, channel.isReady { try self.becomeReady() }
        }
    }

    private func exchange(_ place: inout DeviceBuffer?, with other: DeviceBuffer?) -> DeviceBuffer? {
        defer { place = other }
        return place
    }

    private func answer(_ id: VolumeDevice.RequestID, _ outcome: VolumeDevice.Outcome) {
        guard var held = self.held.removeValue(forKey: id) else {
            preconditionFailure("something is answered that the kernel did not ask")
        }
        self.channel?.answer(id, outcome, held)
        // Out of `held`, so that the pool sees whether anybody else has it.
        if let buffer = self.exchange(&held.buffer, with: nil) { self.pool.put(buffer) }
    }

    /// The kernel has been told, and the first connection stands.
    private func becomeReady() throws(VolumeDeviceError) {
        self.isReady = true
        let text = "\(getpid()) \(self.channel?.path ?? "-")\n"
        do throws(Files.ReplacementFailure) {
            try Files.replace(self.options.ready, with: Array(text.utf8), mode: 0o644, isDurable: false)
        } catch {
            throw .ready(path: self.options.ready, errno: error.code)
        }
    }
}
