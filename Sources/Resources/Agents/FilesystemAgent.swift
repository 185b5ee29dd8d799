import Basis
import CLinux
import Glibc
import Host
import Resources

/// Mounts a file system from a volume or a device; makes one first where there is none and that is wanted.
struct FilesystemAgent: ResourceAgent {
    private struct Wanted {
        let device: String
        let mountPoint: String
        let type: String
        let options: String
        let readOnly: Bool
        let formatIfBlank: Bool
        /// The volume, where it is one.
        let volume: String?
    }

    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let wanted = try self.wanted(context)
        guard let number = BlockDevice.number(wanted.device) else {
            let hint =
                context.parameter("volume").map { "; a resource for volume \($0) must come before this one" } ?? ""
            throw .soft("\(wanted.device) is not a block device\(hint)")
        }
        if try self.clearTheWay(wanted, number, context) { return .success }
        try self.prepare(wanted, context)
        do {
            try Files.makeDirectory(wanted.mountPoint)
            try context.records.write(
                .mounts,
                RunRecords.Holding(
                    group: context.call.group.rawValue, resource: context.call.resource.name.rawValue,
                    words: [wanted.mountPoint, wanted.device]))
        } catch {
            throw .soft("\(error)")
        }
        let result = try context.run(
            self.shell(
                "exec mount -t \"$1\" ${2:+-o \"$2\"} \"$3\" \"$4\"", wanted.type, wanted.options, wanted.device,
                wanted.mountPoint))
        guard result.succeeded else { throw .soft("mount \(result.reason)") }
        try self.grow(wanted, context)
        return .success
    }

    /// A volume that has grown: its file system follows while it is mounted. One that cannot stays as it is, and works.
    private func grow(
        _ wanted: Wanted, _ context: CallContext, by least: UInt64 = FilesystemSize.slackBytes
    ) throws(CallInterruption) {
        guard wanted.volume != nil, !wanted.readOnly,
            FilesystemSize.hasRoom(device: wanted.device, type: wanted.type, bytes: least)
        else { return }
        let command =
            wanted.type == "xfs"
            ? self.shell("exec xfs_growfs \"$1\"", wanted.mountPoint)
            : self.shell("exec resize2fs \"$1\"", wanted.device)
        let grown = try context.run(command)
        context.log(
            grown.succeeded
                ? "the file system at \(wanted.mountPoint) grew with its device"
                : "the file system at \(wanted.mountPoint) did not grow with its device: \(grown.reason)")
    }

    /// Removes a mount that an earlier run left; true when the right one is there and works.
    private func clearTheWay(
        _ wanted: Wanted, _ number: String, _ context: CallContext
    ) throws(CallInterruption) -> Bool {
        let present = MountTable().mounted(at: wanted.mountPoint)
        guard let top = present.last else { return false }
        if top.device == number, try self.answers(wanted, context, within: .seconds(2)) { return true }
        let ours =
            context.records.holding(.mounts, context.call.group, context.call.resource.name) != nil
            || top.source.hasPrefix("/dev/loop") || top.source.hasPrefix("/dev/nbd") || top.device == number
        guard ours else {
            throw .hard(
                "\(top.source) is mounted at \(wanted.mountPoint), and is not ours: unmount it, or change `mount`")
        }
        context.log("detaches a stale mount of \(top.source) at \(wanted.mountPoint)")
        guard MountTable.detach(wanted.mountPoint) else {
            throw .hard("the stale mount of \(top.source) at \(wanted.mountPoint) cannot be detached")
        }
        return false
    }

    /// Formats a blank device, and repairs what a crash left.
    private func prepare(_ wanted: Wanted, _ context: CallContext) throws(CallInterruption) {
        let seen = try context.run(self.shell("exec blkid -p -o value -s TYPE -s PTTYPE \"$1\"", wanted.device))
        switch seen.end {
        case .exited(0):
            let found = seen.output.split(separator: "\n").first.map(String.init) ?? ""
            guard found == wanted.type || found.isEmpty else {
                throw .hard("\(wanted.device) holds \(found), not \(wanted.type): correct `type`, or empty the device")
            }
        case .exited(2):
            guard wanted.volume == nil || context.call.mayFormat else {
                throw .hard(
                    "the volume \(wanted.volume ?? "") was in use before, and its device holds no file system any more: "
                        + "nothing is formatted. See `holdfast volume status` for which copy this is")
            }
            try self.format(wanted, context)
            return
        default:
            throw .soft("could not look at \(wanted.device): blkid \(seen.reason)")
        }
        guard wanted.type.hasPrefix("ext"), !wanted.readOnly else { return }
        guard context.call.mayRepair else { return try self.replay(wanted, context) }
        let check = try context.run(self.shell("exec e2fsck -p \"$1\"", wanted.device))
        switch check.end {
        case .exited(0): return
        case .exited(1), .exited(2): context.log("e2fsck repaired \(wanted.device): \(check.reason)")
        default:
            throw .hard(
                "\(wanted.device) has errors that `e2fsck -p` does not repair by itself (\(check.reason)); "
                    + Self.repairAdvice(wanted, context))
        }
    }

    /// What a person can do: the device of a volume is gone once its group has stopped.
    private static func repairAdvice(_ wanted: Wanted, _ context: CallContext) -> String {
        guard let volume = context.parameter("volume") else {
            return "run `e2fsck -f \(wanted.device)` and look at what it asks"
        }
        return "apply a configuration in which the group has the volume \(volume) alone, run `e2fsck -f` on the device "
            + "that it has then, and apply the old one again (docs/repair.md)"
    }

    /// A volume that was in use is mounted as it is. Its journal is replayed, as the kernel would; errors need a person,
    /// for a repair is mirrored into every copy. (Rule V22)
    private func replay(_ wanted: Wanted, _ context: CallContext) throws(CallInterruption) {
        let replayed = try context.run(self.shell("exec e2fsck -p -E journal_only \"$1\"", wanted.device))
        switch replayed.end {
        case .exited(0), .exited(1), .exited(2): break
        default:
            throw .hard("the journal of \(wanted.device) cannot be replayed (\(replayed.reason))" + self.remedy(wanted))
        }
        let header = try context.run(self.shell("exec dumpe2fs -h \"$1\"", wanted.device))
        let state = header.output.split(separator: "\n").first { $0.hasPrefix("Filesystem state:") } ?? ""
        if state.contains("error") {
            throw .hard("the file system of \(wanted.device) is marked as damaged" + self.remedy(wanted))
        }
    }

    private func remedy(_ wanted: Wanted) -> String {
        "; a repair would change every copy: look at the copies with `holdfast volume status`, then allow it with "
            + "`holdfast volume allow-repair \(wanted.volume ?? "VOLUME")` and start the group"
    }

    private func format(_ wanted: Wanted, _ context: CallContext) throws(CallInterruption) {
        guard wanted.formatIfBlank else {
            throw .hard("\(wanted.device) holds no file system: set `format: if-blank`, or make one with mkfs")
        }
        // No known signature does not mean no data: only zeros do.
        let zeros = try context.run(self.shell("exec cmp -s -n 1048576 \"$1\" /dev/zero", wanted.device))
        switch zeros.end {
        case .exited(0): break
        case .exited(1):
            throw .hard(
                "\(wanted.device) holds data that is no file system we know, and is not formatted: if it may be lost, "
                    + "run `wipefs -a` and clear its first MiB")
        default: throw .soft("could not read \(wanted.device): \(zeros.reason)")
        }
        context.log("makes a \(wanted.type) file system on the blank device \(wanted.device)")
        let options = wanted.type.hasPrefix("ext") ? "-q -F -E lazy_itable_init=1,lazy_journal_init=1,nodiscard" : ""
        let made = try context.run(self.shell("exec mkfs -t \"$1\" \(options) \"$2\"", wanted.type, wanted.device))
        guard made.succeeded else { throw .hard("mkfs \(made.reason)") }
    }

    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let group = context.call.group
        let name = context.call.resource.name
        let recorded = context.records.holding(.mounts, group, name)?.words.first
        let configured = try context.required("mount")
        let mountPoint = recorded ?? MountTable.canonical(configured)
        let present = MountTable().mounted(at: mountPoint)
        // Without a record it is ours only if it is mounted from our device.
        let device = try self.wanted(context).device
        if recorded == nil, let top = present.last, top.device != BlockDevice.number(device) { return .success }
        if !present.isEmpty { try self.unmount(mountPoint, context) }
        context.records.remove(.mounts, group, name)
        context.cgroup.remove()
        return .success
    }

    private func unmount(_ mountPoint: String, _ context: CallContext) throws(CallInterruption) {
        // Enough left of the time to sync and to detach.
        let reserve = min(context.call.timeout / 4, Span.seconds(5))
        var signal = SIGTERM
        var reason = ""
        while context.left(reserve: reserve) > .zero {
            let result = try context.run(
                self.shell("exec umount \"$1\"", mountPoint), timeout: context.left(reserve: reserve))
            if MountTable().mounted(at: mountPoint).isEmpty { return }
            if result.succeeded { continue }
            reason = result.reason
            for user in self.users(of: mountPoint, context) { user.signal(signal) }
            signal = SIGKILL
            try context.pause(min(.milliseconds(200), context.left(reserve: reserve)))
        }
        let synced = try context.run(self.shell("exec sync -f \"$1\"", mountPoint), timeout: context.left() / 2)
        let others = self.allUsers(of: mountPoint).map(\.pid)
        context.log(
            "umount \(reason); detaches \(mountPoint) while processes \(others) use it"
                + (synced.succeeded ? "" : ", its last writes not flushed"))
        guard MountTable.detach(mountPoint) else { throw .hard("\(mountPoint) cannot be unmounted: \(reason)") }
    }

    /// Processes of this group that use a mount: nobody else's are touched.
    private func users(of mountPoint: String, _ context: CallContext) -> [ProcessIdentity] {
        let own = Set(context.environment.cgroup(of: context.call.group).processes())
        return self.allUsers(of: mountPoint).filter { own.contains($0.pid) }
    }

    /// Processes whose directory, program or open files are below the mount point; reads links only, which cannot hang.
    private func allUsers(of mountPoint: String) -> [ProcessIdentity] {
        Files.list("/proc").compactMap { Int32($0) }.filter { pid in
            let links =
                ["cwd", "root", "exe"].map { "/proc/\(pid)/\($0)" }
                + Files.list("/proc/\(pid)/fd").map { "/proc/\(pid)/fd/\($0)" }
            return links.contains { link in
                guard let target = Files.link(link) else { return false }
                return target == mountPoint || target.hasPrefix(mountPoint + "/")
            }
        }.compactMap { ProcessIdentity(pid: $0) }
    }

    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let wanted = try self.wanted(context)
        guard let top = MountTable().mounted(at: wanted.mountPoint).last else { return .notRunning }
        guard let number = BlockDevice.number(wanted.device) else {
            throw .soft("its device \(wanted.device) is gone while it is mounted")
        }
        guard top.device == number else {
            throw .soft("\(wanted.mountPoint) is mounted from \(top.source), not from \(wanted.device)")
        }
        if !wanted.readOnly, top.superOptions.contains("ro") || top.options.contains("ro") {
            throw .soft("\(wanted.mountPoint) has become read-only: the kernel met an error on \(wanted.device)")
        }
        guard try self.answers(wanted, context, within: nil) else {
            throw .soft("\(wanted.mountPoint) cannot be read")
        }
        try self.grow(wanted, context, by: FilesystemSize.largeBytes)
        return .success
    }

    func probe(_ context: CallContext) throws(CallInterruption) -> AgentOutcome {
        let wanted = try self.wanted(context)
        guard let top = MountTable().mounted(at: wanted.mountPoint).last else { return .notRunning }
        let recorded = context.records.holding(.mounts, context.call.group, context.call.resource.name) != nil
        return recorded || top.device == BlockDevice.number(wanted.device) ? .success : .notRunning
    }

    /// Asks the file system in a process of its own: one that hangs takes nobody along.
    private func answers(
        _ wanted: Wanted, _ context: CallContext, within: Span?
    ) throws(CallInterruption) -> Bool {
        try context.run(
            self.shell("stat -f \"$1\" >/dev/null && exec ls -f \"$1\" >/dev/null", wanted.mountPoint), timeout: within
        ).succeeded
    }

    private func wanted(_ context: CallContext) throws(CallInterruption) -> Wanted {
        let device: String
        if let path = context.parameter("device") {
            device = path
        } else if let volume = context.parameter("volume") {
            device = VolumePaths(run: context.environment.runDirectory, volume: volume).device
        } else {
            throw .fatal("the resource has neither `volume` nor `device`: add one of them to cluster.yaml")
        }
        let format = context.parameter("format") ?? "never"
        guard format == "never" || format == "if-blank" else {
            throw .fatal("`format: \(format)` is neither never nor if-blank")
        }
        let mountPoint = try context.required("mount")
        guard mountPoint.hasPrefix("/"), mountPoint != "/" else {
            throw .fatal("`mount: \(mountPoint)` is not an absolute path below /")
        }
        let options = context.parameter("options") ?? ""
        return Wanted(
            device: Files.resolved(device) ?? device, mountPoint: MountTable.canonical(mountPoint),
            type: context.parameter("type") ?? "ext4", options: options,
            readOnly: options.split(separator: ",").contains("ro"), formatIfBlank: format == "if-blank",
            volume: context.parameter("device") == nil ? context.parameter("volume") : nil)
    }

    private func shell(_ script: String, _ arguments: String...) -> [String] {
        ["/bin/sh", "-c", script, "sh"] + arguments
    }
}
