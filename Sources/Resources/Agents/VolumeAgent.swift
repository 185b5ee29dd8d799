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
    var ready: String { self.directory + "/device.pid" }

    init(run: String, volume: String) { self.directory = "\(run)/volumes/\(Files.component(volume))" }
}

/// A volume's socket as a block device: by the kernel's nbd, or by a loop device over a file that a process of ours shows,
/// `holdfast volume-device`.
struct VolumeAttachment: Equatable {
    enum Kind: String {
        case nbd
        case loop
    }
    let volume: String
    let kind: Kind
    let device: String
    let directory: String
    /// Which attachment of the device it is: a loop device's sequence, an nbd device's owner; `-` while not known.
    let identity: String

    init(volume: String, kind: Kind, device: String, directory: String, identity: String = "-") {
        self.volume = volume
        self.kind = kind
        self.device = device
        self.directory = directory
        self.identity = identity
    }

    /// As recorded; nil when the record is not one of an attachment.
    init?(_ holding: RunRecords.Holding) {
        guard holding.words.count >= 4, let kind = Kind(rawValue: holding.words[1]) else { return nil }
        self.init(
            volume: holding.words[0], kind: kind, device: holding.words[2], directory: holding.words[3],
            identity: holding.words.count > 4 ? holding.words[4] : "-")
    }

    var words: [String] { [self.volume, self.kind.rawValue, self.device, self.directory, self.identity] }

    private var fuse: String { MountTable.canonical(self.directory + "/fuse") }

    /// Something could still reach the volume through it. A loop device over a dead file cannot.
    var isAttached: Bool {
        switch self.kind {
        case .loop: return !MountTable().mounted(at: self.fuse).isEmpty
        case .nbd: return self.isOurs
        }
    }

    /// The device is still attached as it was recorded, and not by anybody else since: another node, container or
    /// cluster on this machine may use the same names. Asks nobody but the kernel.
    var isOurs: Bool {
        switch self.kind {
        case .loop:
            guard let recorded = DiskSequence(recorded: self.identity) else { return false }
            return DiskSequence(device: self.device) == recorded
        case .nbd:
            // Unknown while nbd-client runs, when the device was free a moment ago.
            guard let owner = BlockDevice.nbdOwner(self.device) else { return false }
            return self.identity == "-" || self.identity == owner
        }
    }

    /// Has the loop device detached at its last close, which is now when nobody has it open.
    func release() {
        guard self.kind == .loop, self.isOurs, let sequence = DiskSequence(recorded: self.identity) else { return }
        _ = holdfast_loop_detach(self.device, sequence.number)
    }

    /// Cuts an nbd device off: what waits for an answer of a server that is gone, or frozen, fails at once, and with it whoever
    /// could not be killed because of it. For a loop device the end of the process below it does the same.
    func cut(waitingAtMost patience: Span) {
        guard self.kind == .nbd, self.isOurs,
            let index = self.device.split(separator: "/").last.flatMap({ UInt32($0.dropFirst(3)) })
        else { return }
        _ = holdfast_nbd_disconnect(index, Int32(clamping: patience.milliseconds))
    }

    /// Has the device take up the volume's present size, after the volume has grown, and says what that is now in bytes.
    /// Its users are not disturbed; a file system on it grows by its own means.
    func takeUpSize() throws(VolumeAttachmentError) -> UInt64 {
        guard self.kind == .loop, let sequence = DiskSequence(recorded: self.identity), self.isOurs else {
            throw .cannotGrow(device: self.device, reason: "it is no loop device of ours")
        }
        var bytes: UInt64 = 0
        let code = holdfast_loop_take_up_size(self.device, sequence.number, self.directory + "/fuse/nbd", &bytes)
        guard code == 0 else { throw .cannotGrow(device: self.device, reason: SystemText.error(code)) }
        return bytes
    }

    /// Cuts the device off, whoever uses it; true when nothing reaches the volume through it any more.
    func force() -> Bool {
        unlink(self.directory + "/device")
        switch self.kind {
        case .loop:
            self.release()
            _ = MountTable.detach(self.fuse)
        case .nbd: self.cut(waitingAtMost: .seconds(1))
        }
        return !self.isAttached
    }
}

/// What is attached to the volumes of this node, for those who see their servers end.
public enum AttachedVolumes {
    /// Cuts off what is attached to a volume whose server does not come back. A service that waits for its disk would wait on,
    /// and with it everything that wants to stop it. (Rule V23)
    public static func cut(runDirectory: String, volumeDirectory: String) {
        let records = RunRecords(directory: runDirectory)
        for holding in records.holdings(.devices) {
            guard let attachment = VolumeAttachment(holding), attachment.directory == volumeDirectory else { continue }
            switch attachment.kind {
            case .nbd: attachment.cut(waitingAtMost: .seconds(2))
            case .loop:
                let device = records.service(GroupName(holding.group), ResourceName(holding.resource))
                device?.identity.signal(SIGKILL)
            }
        }
    }

    static func all(_ runDirectory: String) -> [VolumeAttachment] {
        RunRecords(directory: runDirectory).holdings(.devices).compactMap { VolumeAttachment($0) }
    }
}

/// Why an attached device is not as it should be.
enum VolumeAttachmentError: Error, Equatable, CustomStringConvertible {
    /// It did not take up the volume's new size.
    case cannotGrow(device: String, reason: String)

    /// What happened and what to do.
    var description: String {
        switch self {
        case .cannotGrow(let device, let reason):
            "\(device) keeps the size that it had: \(reason); it takes up the volume's when the group is next started"
        }
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
            if result.succeeded {
                try self.record(
                    VolumeAttachment(
                        volume: volume, kind: .nbd, device: device, directory: paths.directory,
                        identity: BlockDevice.nbdOwner(device) ?? "-"), context)
                return try self.link(device, paths)
            }
            // Somebody else may have been faster: what is attached there now is not ours to detach.
            try self.record(
                VolumeAttachment(volume: volume, kind: .nbd, device: "-", directory: paths.directory), context)
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
            try self.attachLoop(volume, paths, context)
        } catch {
            context.watcher.abandon(process.descriptor)
            try? self.clean(paths, context)
            throw error
        }
        context.watcher.watch(context.key, epoch: context.call.epoch, descriptor: process.descriptor)
    }

    /// The processes that do nothing but have the loop device open.
    private func holders(_ context: CallContext) -> ControlGroup { context.cgroup.child("device") }

    /// Attaches a loop device that detaches itself when nobody has it open, and starts a process that has it open. That
    /// one dies with the group, and so the device goes, whoever is left to take it down.
    private func attachLoop(_ volume: String, _ paths: VolumePaths, _ context: CallContext) throws(CallInterruption) {
        var number: Int32 = -1
        var sequence: UInt64 = 0
        let descriptor = holdfast_loop_attach(paths.file, &number, &sequence)
        guard descriptor >= 0 else {
            throw .soft(
                "no loop device could be attached to \(paths.file): \(SystemText.error(-descriptor)); look at "
                    + "`losetup -l`, and that the module loop is loaded and the kernel is 5.15 or later")
        }
        defer { close(descriptor) }
        let device = "/dev/loop\(number)"
        try self.record(
            VolumeAttachment(
                volume: volume, kind: .loop, device: device, directory: paths.directory,
                identity: DiskSequence(number: sequence).description), context)
        do {
            let holders = self.holders(context)
            try holders.create()
            let holder = try context.spawner.start(
                SpawnRequest(
                    arguments: ["/bin/sh", "-c", "exec sleep infinity"], environment: CallContext.toolEnvironment,
                    cgroup: holders, input: descriptor))
            context.watcher.abandon(holder.descriptor)
        } catch {
            throw .soft("\(error)")
        }
        try self.link(device, paths)
    }

    /// Starts the process that shows the volume as a file, until the file is there. A volume server that has only just
    /// made its socket may refuse it at first; it tries again by itself.
    private func readyFuse(_ paths: VolumePaths, _ context: CallContext) throws(CallInterruption) -> SpawnedProcess {
        let clock = context.environment.clock
        let process = try self.startFuse(paths, context)
        do throws(CallInterruption) {
            var ended = false
            while !ended, !Files.exists(paths.ready) {
                ended = try context.wait(until: clock() + .milliseconds(10), for: process.descriptor)
            }
            if ended { throw .soft("volume-device ended: \(context.ownLog.lastLine ?? "without a word")") }
            return process
        } catch {
            context.watcher.abandon(process.descriptor)
            try? self.clean(paths, context)
            throw error
        }
    }

    private func startFuse(_ paths: VolumePaths, _ context: CallContext) throws(CallInterruption) -> SpawnedProcess {
        do {
            try Files.makeDirectory(paths.fuse)
            try context.cgroup.create()
            context.logs.start()
            let descriptor = try context.ownLog.open()
            defer { close(descriptor) }
            let process = try context.spawner.start(
                SpawnRequest(
                    arguments: [
                        context.environment.program, "volume-device", "--socket", paths.socket, "--mount", paths.fuse,
                        "--ready", paths.ready, "--dead-time",
                        "\(context.environment.volumeDeadTime.milliseconds)ms",
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
        let until = min(context.deadline, clock() + .milliseconds(500))
        _ = self.holders(context).killAll(until: until, clock: clock)
        for attachment in attachments { attachment.release() }
        let used = { attachments.contains { $0.kind == .loop && $0.isOurs } }
        while used(), clock() < until { usleep(5000) }
        if used() {
            context.log(
                "the block device of \(paths.directory) is still in use and is cut off; it goes at its last close")
        }
        for attachment in attachments where !attachment.force() {
            throw .soft("the device of \(attachment.directory) could not be detached; see its users with `lsof`")
        }
        if !context.cgroup.waitUntilEmpty(until: clock() + .milliseconds(200), clock: clock),
            !context.cgroup.killAll(until: max(context.deadline, clock() + .seconds(1)), clock: clock)
        {
            throw .hard("volume-device does not die, not even by SIGKILL: \(context.cgroup.processes())")
        }
        unlink(paths.ready)
        context.records.remove(.devices, group, name)
        context.records.removeService(group, name)
    }

    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let paths = try self.paths(context)
        let holding = context.records.holding(.devices, context.call.group, context.call.resource.name)
        if let known = holding.flatMap({ VolumeAttachment($0) }), known.isOurs {
            // A frozen volume answers nothing; what cannot be flushed now is kept or lost by the mirror's rules.
            let result = try context.run(
                ["/bin/sh", "-c", "exec blockdev --flushbufs \"$1\"", "sh", known.device], timeout: context.left() / 2)
            if !result.succeeded { context.log("its last writes were not flushed: \(result.reason)") }
        }
        try self.clean(paths, context)
        context.cgroup.remove()
        return .success
    }

    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let outcome = try self.probe(context)
        self.followSize(context)
        return outcome
    }

    /// A volume that has grown in use: its device follows, and after it the file system by its own check. (Rule V21)
    private func followSize(_ context: CallContext) {
        guard let holding = context.records.holding(.devices, context.call.group, context.call.resource.name),
            let attachment = VolumeAttachment(holding), attachment.kind == .loop
        else { return }
        let before = BlockDevice.sizeBytes(attachment.device)
        do throws(VolumeAttachmentError) {
            let bytes = try attachment.takeUpSize()
            if let before, bytes > before { context.log("\(attachment.device) has grown to \(bytes) bytes") }
        } catch {
            context.log("\(error)")
        }
    }

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
                throw .soft("volume-device of \(known.volume) is gone")
            }
            guard known.isOurs else { throw .soft("\(known.device) is no longer over \(paths.file)") }
        }
        return .success
    }

    private func paths(_ context: CallContext) throws(CallInterruption) -> VolumePaths {
        VolumePaths(run: context.environment.runDirectory, volume: try context.required("volume"))
    }
}
