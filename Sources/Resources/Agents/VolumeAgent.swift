import Basis
import CLinux
import Glibc

/// Where the parts of an attached volume are.
struct VolumePaths {
    let directory: String
    var socket: String { self.directory + "/nbd" }
    var device: String { self.directory + "/device" }
    var fuse: String { self.directory + "/fuse" }
    var file: String { self.fuse + "/nbd" }
    var ready: String { self.directory + "/nbdfuse.pid" }

    init(run: String, volume: String) { self.directory = "\(run)/volumes/\(Files.component(volume))" }
}

/// A volume's socket as a block device: by the kernel's nbd, or by nbdfuse and a loop device over its file.
struct VolumeAttachment: Equatable {
    enum Kind: String {
        case nbd
        case loop
    }
    let volume: String
    let kind: Kind
    let device: String
    let directory: String

    init(volume: String, kind: Kind, device: String, directory: String) {
        self.volume = volume
        self.kind = kind
        self.device = device
        self.directory = directory
    }

    /// As recorded; nil when the record is not one of an attachment.
    init?(_ holding: RunRecords.Holding) {
        guard holding.words.count >= 4, let kind = Kind(rawValue: holding.words[1]) else { return nil }
        self.init(volume: holding.words[0], kind: kind, device: holding.words[2], directory: holding.words[3])
    }

    var words: [String] { [self.volume, self.kind.rawValue, self.device, self.directory] }

    private var fuse: String { MountTable.canonical(self.directory + "/fuse") }

    /// Something could still reach the volume through it. A loop device over a dead file cannot.
    var isAttached: Bool {
        switch self.kind {
        case .loop: return !MountTable().mounted(at: self.fuse).isEmpty
        case .nbd: return Files.exists("/sys/block/\(self.device.split(separator: "/").last ?? "-")/pid")
        }
    }

    /// Cuts the device off, whoever uses it; true when nothing reaches the volume through it any more.
    func force() -> Bool {
        unlink(self.directory + "/device")
        switch self.kind {
        case .loop:
            for loop in BlockDevice.loops(over: self.fuse + "/nbd") { _ = holdfast_loop_detach(loop) }
            _ = MountTable.detach(self.fuse)
        case .nbd:
            let request = SpawnRequest(
                arguments: ["/bin/sh", "-c", "exec nbd-client -d \"$1\"", "sh", self.device],
                environment: CallContext.toolEnvironment)
            let clock = { Tick(nanoseconds: holdfast_boot_clock_nanoseconds()) }
            if var command = try? RunningCommand(request) {
                _ = command.collect(until: clock() + .seconds(1), cancel: CancelSignal(), clock: clock)
                if let descriptor = command.close(clock: clock) { Glibc.close(descriptor) }
            }
        }
        return !self.isAttached
    }
}

/// Attaches a volume that the daemon has opened. Opening and closing it are the daemon's.
struct VolumeAgent: ResourceAgent {
    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let paths = try self.paths(context)
        let volume = try context.required("volume")
        try self.clean(paths, context)
        let pause = Span.milliseconds(20)
        while !Files.exists(paths.socket) { try context.pause(pause) }
        if Files.exists("/dev/nbd0"), Files.exists("/usr/sbin/nbd-client") || Files.exists("/sbin/nbd-client") {
            try self.attachByKernel(volume, paths, context)
        } else {
            try self.attachByFuse(volume, paths, context)
        }
        return .success
    }

    private func record(_ attachment: VolumeAttachment, _ context: CallContext) throws(CallInterruption) {
        do {
            try context.records.write(
                .devices,
                RunRecords.Holding(
                    group: context.call.group.rawValue, resource: context.call.resource.name.rawValue,
                    words: attachment.words))
        } catch {
            throw .soft(error)
        }
    }

    private func link(_ device: String, _ paths: VolumePaths) throws(CallInterruption) {
        let temporary = paths.device + ".new"
        unlink(temporary)
        guard symlink(device, temporary) == 0, rename(temporary, paths.device) == 0 else {
            throw .soft("could not link \(paths.device) to \(device): \(SystemText.error(errno))")
        }
    }

    private func attachByKernel(
        _ volume: String, _ paths: VolumePaths, _ context: CallContext
    ) throws(CallInterruption) {
        let free = Files.list("/sys/block").filter { $0.hasPrefix("nbd") && !Files.exists("/sys/block/\($0)/pid") }
            .sorted { ($0.count, $0) < ($1.count, $1) }
        guard !free.isEmpty else { throw .soft("every nbd device is in use: load the module nbd with more (nbds_max)") }
        var reason = ""
        for name in free.prefix(4) {
            let device = "/dev/" + name
            try self.record(
                VolumeAttachment(volume: volume, kind: .nbd, device: device, directory: paths.directory), context)
            let result = try context.run(
                ["/bin/sh", "-c", "exec nbd-client -unix \"$1\" \"$2\"", "sh", paths.socket, device],
                place: .callKeepingChildren)
            if result.succeeded { return try self.link(device, paths) }
            reason = result.reason
        }
        throw .soft("nbd-client could not attach \(volume): \(reason)")
    }

    private func attachByFuse(
        _ volume: String, _ paths: VolumePaths, _ context: CallContext
    ) throws(CallInterruption) {
        try self.record(
            VolumeAttachment(volume: volume, kind: .loop, device: "-", directory: paths.directory), context)
        let process = try self.readyFuse(paths, context)
        do throws(CallInterruption) {
            let result = try context.run(
                ["/bin/sh", "-c", "exec losetup --find --show --direct-io=off \"$1\"", "sh", paths.file])
            let device = result.output.split(separator: "\n").first.map(String.init) ?? ""
            guard result.succeeded, device.hasPrefix("/dev/") else {
                throw .soft("losetup could not attach \(paths.file): \(result.reason)")
            }
            try self.record(
                VolumeAttachment(volume: volume, kind: .loop, device: device, directory: paths.directory), context)
            try self.link(device, paths)
        } catch {
            context.watcher.abandon(process.descriptor)
            try? self.clean(paths, context)
            throw error
        }
        context.watcher.watch(context.key, epoch: context.call.epoch, descriptor: process.descriptor)
    }

    /// Starts nbdfuse until it is ready; a volume server that has only just made its socket may refuse it at first.
    private func readyFuse(_ paths: VolumePaths, _ context: CallContext) throws(CallInterruption) -> SpawnedProcess {
        let clock = context.environment.clock
        let patience = clock() + .seconds(3)
        while true {
            let process = try self.startFuse(paths, context)
            do throws(CallInterruption) {
                var ended = false
                while !ended, !Files.exists(paths.ready) {
                    ended = try context.wait(until: clock() + .milliseconds(10), for: process.descriptor)
                }
                if !ended { return process }
                if clock() >= patience {
                    let log = ServiceLog(context.records.serviceLog(context.call.group, context.call.resource.name))
                    throw .soft("nbdfuse ended: \(log.lastLine ?? "without a word")")
                }
                try context.pause(.milliseconds(50))
                context.watcher.abandon(process.descriptor)
            } catch {
                context.watcher.abandon(process.descriptor)
                try? self.clean(paths, context)
                throw error
            }
        }
    }

    private func startFuse(_ paths: VolumePaths, _ context: CallContext) throws(CallInterruption) -> SpawnedProcess {
        let log = ServiceLog(context.records.serviceLog(context.call.group, context.call.resource.name))
        do {
            try Files.makeDirectory(paths.fuse)
            try context.cgroup.create()
            let descriptor = try log.open()
            defer { close(descriptor) }
            let process = try context.spawner.start(
                SpawnRequest(
                    arguments: [
                        "/bin/sh", "-c", "exec nbdfuse -P \"$1\" \"$2\" --unix \"$3\"", "sh", paths.ready, paths.file,
                        paths.socket,
                    ], environment: CallContext.toolEnvironment, cgroup: context.cgroup, output: descriptor,
                    error: descriptor))
            try? context.records.write(
                ServiceRecord(
                    group: context.call.group.rawValue, resource: context.call.resource.name.rawValue,
                    pid: process.pid, startTime: ProcessIdentity(pid: process.pid)?.startTime ?? 0,
                    generation: context.call.epoch.generation, index: context.call.epoch.index))
            return process
        } catch {
            throw .soft("\(error)")
        }
    }

    /// Takes down whatever part of an attachment there is.
    private func clean(_ paths: VolumePaths, _ context: CallContext) throws(CallInterruption) {
        context.watcher.expectEnd(context.key)
        let clock = context.environment.clock
        let group = context.call.group
        let name = context.call.resource.name
        var attachments = [
            VolumeAttachment(volume: "-", kind: .loop, device: "-", directory: paths.directory)
        ]
        if let holding = context.records.holding(.devices, group, name), let known = VolumeAttachment(holding) {
            attachments.append(known)
        }
        // The loop device goes first: its last writes must still find the volume behind it.
        for loop in BlockDevice.loops(over: MountTable.canonical(paths.fuse) + "/nbd") {
            _ = holdfast_loop_detach(loop)
        }
        let free = { BlockDevice.loops(over: MountTable.canonical(paths.fuse) + "/nbd").isEmpty }
        let until = min(context.deadline, clock() + .milliseconds(500))
        while !free(), clock() < until { usleep(5000) }
        if !free() { context.log("the block device of \(paths.directory) is still in use and is cut off") }
        for attachment in attachments where !attachment.force() {
            throw .soft("the device of \(attachment.directory) could not be detached; see its users with `lsof`")
        }
        if !context.cgroup.waitUntilEmpty(until: clock() + .milliseconds(200), clock: clock),
            !context.cgroup.killAll(until: max(context.deadline, clock() + .seconds(1)), clock: clock)
        {
            throw .hard("nbdfuse does not die, not even by SIGKILL: \(context.cgroup.processes())")
        }
        unlink(paths.ready)
        context.records.remove(.devices, group, name)
        context.records.removeService(group, name)
    }

    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let paths = try self.paths(context)
        if Files.exists(paths.device) {
            // A frozen volume answers nothing; what cannot be flushed now is kept or lost by the mirror's rules.
            let result = try context.run(
                ["/bin/sh", "-c", "exec blockdev --flushbufs \"$1\"", "sh", paths.device], timeout: context.left() / 2)
            if !result.succeeded { context.log("its last writes were not flushed: \(result.reason)") }
        }
        try self.clean(paths, context)
        context.cgroup.remove()
        return .success
    }

    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome { try self.probe(context) }

    func probe(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let paths = try self.paths(context)
        let group = context.call.group
        let name = context.call.resource.name
        guard let holding = context.records.holding(.devices, group, name), let known = VolumeAttachment(holding)
        else { return .notRunning }
        guard known.isAttached, known.device != "-" else {
            throw .soft("it is attached by half: \(holding.words.joined(separator: " "))")
        }
        guard Files.link(paths.device) == known.device else {
            throw .soft("\(paths.device) does not point to \(known.device)")
        }
        if known.kind == .loop {
            guard context.records.service(group, name)?.identity.isAlive == true else {
                throw .soft("nbdfuse of \(known.volume) is gone")
            }
            guard BlockDevice.backing(known.device) == MountTable.canonical(paths.fuse) + "/nbd" else {
                throw .soft("\(known.device) is no longer over \(paths.file)")
            }
        }
        return .success
    }

    private func paths(_ context: CallContext) throws(CallInterruption) -> VolumePaths {
        VolumePaths(run: context.environment.runDirectory, volume: try context.required("volume"))
    }
}
