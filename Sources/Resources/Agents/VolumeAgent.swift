import Basis
import CLinux
import Glibc
import Host
import Resources

/// Attaches a volume that the daemon has opened. Opening and closing it are the daemon's.
struct VolumeAgent: ResourceAgent {
    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let paths = try self.paths(context)
        let volume = try context.required("volume")
        try self.clean(paths, context)
        let pause = Span.milliseconds(20)
        while !Files.exists(paths.socket) { try context.pause(pause) }
        let kind: VolumeAttachment.Kind = holdfast_nbd_present() == 1 ? .nbd : .loop
        try self.record(VolumeAttachment(volume: volume, kind: kind, device: "-", directory: paths.directory), context)
        let process = try self.readyDevice(kind, paths, context)
        do throws(CallInterruption) {
            switch kind {
            case .nbd: try self.attachByKernel(volume, paths, process, context)
            case .loop: try self.attachLoop(volume, paths, context)
            }
        } catch {
            context.watcher.abandon(process.descriptor)
            try? self.clean(paths, context)
            throw error
        }
        context.watcher.watch(context.key, epoch: context.call.epoch, descriptor: process.descriptor)
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
        let code = symlink(device, temporary) == 0 ? Files.move(temporary, to: paths.device) : errno
        guard code == 0 else {
            throw .soft("could not link \(paths.device) to \(device): \(SystemText.error(code))")
        }
    }

    /// The device that the process was given by the kernel.
    private func attachByKernel(
        _ volume: String, _ paths: VolumePaths, _ process: SpawnedProcess, _ context: CallContext
    ) throws(CallInterruption) {
        let words = (Files.text(paths.ready) ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count == 2, BlockDevice.nbdOwner(words[1]) == words[0] else {
            throw .soft("volume-device has no nbd device after all: \(context.ownLog.lastLine ?? "without a word")")
        }
        try self.record(
            VolumeAttachment(
                volume: volume, kind: .nbd, device: words[1], directory: paths.directory, identity: words[0]), context)
        try self.link(words[1], paths)
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

    /// Starts the process that shows the volume to the kernel, until it does. A volume server that has only just made its socket
    /// may refuse it at first; it tries again by itself.
    private func readyDevice(
        _ kind: VolumeAttachment.Kind, _ paths: VolumePaths, _ context: CallContext
    ) throws(CallInterruption) -> SpawnedProcess {
        let clock = context.environment.clock
        let process = try self.startDevice(kind, paths, context)
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

    private func startDevice(
        _ kind: VolumeAttachment.Kind, _ paths: VolumePaths, _ context: CallContext
    ) throws(CallInterruption) -> SpawnedProcess {
        let carrier: [String]
        switch kind {
        case .nbd: carrier = ["--nbd", paths.directory]
        case .loop: carrier = ["--mount", paths.fuse]
        }
        do {
            if kind == .loop { try Files.makeDirectory(paths.fuse) }
            try context.cgroup.create()
            context.logs.start()
            let descriptor = try context.ownLog.open()
            defer { close(descriptor) }
            let process = try context.spawner.start(
                SpawnRequest(
                    arguments: [
                        context.environment.program, "volume-device", "--socket", paths.socket,
                    ] + carrier + [
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
        attachments += VolumeAttachment.found(in: paths.directory)
        // The loop device goes first: its last writes must still find the volume behind it.
        let until = min(context.deadline, clock() + .milliseconds(500))
        _ = self.holders(context).killAll(until: until, clock: clock)
        for attachment in attachments { attachment.detach() }
        let used = { attachments.contains { $0.kind == .loop && $0.isOurs } }
        while used(), clock() < until { SystemThread.sleep(.milliseconds(5)) }
        if used() {
            context.log(
                "the block device of \(paths.directory) is still in use and is cut off; it goes at its last close")
        }
        for attachment in attachments { _ = attachment.force() }
        if !context.cgroup.waitUntilEmpty(until: clock() + .milliseconds(200), clock: clock),
            !context.cgroup.killAll(until: max(context.deadline, clock() + .seconds(1)), clock: clock)
        {
            throw .hard("volume-device does not die, not even by SIGKILL: \(context.cgroup.processes())")
        }
        for attachment in attachments where attachment.isAttached {
            throw .soft("the device of \(attachment.directory) could not be detached; see its users with `lsof`")
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
            let attachment = VolumeAttachment(holding)
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
        guard context.records.service(group, name)?.identity.isAlive == true else {
            throw .soft("volume-device of \(known.volume) is gone")
        }
        guard known.isOurs else { throw .soft("\(known.device) is no longer attached to \(known.volume)") }
        return .success
    }

    private func paths(_ context: CallContext) throws(CallInterruption) -> VolumePaths {
        VolumePaths(run: context.environment.runDirectory, volume: try context.required("volume"))
    }
}
