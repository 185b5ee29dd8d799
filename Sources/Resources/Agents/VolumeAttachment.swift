import Basis
import CLinux
import Glibc
import Host

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

/// A volume's socket as a block device, which a process of ours shows to the kernel, `holdfast volume-device`: as a device of the
/// kernel's nbd, or as a file with a loop device over it.
struct VolumeAttachment: Equatable {
    enum Kind: String {
        case nbd
        case loop
    }
    let volume: String
    let kind: Kind
    let device: String
    let directory: String
    /// Which attachment of the device it is: a loop device's sequence, the process that serves an nbd device; `-` while not known.
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

    /// Something could still reach the volume through it. A loop device over a dead file cannot, nor an nbd device whose process is
    /// dead, whoever has it open.
    var isAttached: Bool {
        switch self.kind {
        case .loop: return !MountTable().mounted(at: self.fuse).isEmpty
        case .nbd: return self.isOurs && BlockDevice.nbdOwner(self.device).map { Files.exists("/proc/\($0)") } == true
        }
    }

    /// The nbd devices that serve a volume of this node, of which nobody may have told: who attached them may have been killed
    /// before it could. Kernels before 5.14 do not say.
    static func found(in directory: String) -> [VolumeAttachment] {
        Files.list("/sys/block").filter { $0.hasPrefix("nbd") }.sorted().compactMap { name in
            let backend = Files.text("/sys/block/\(name)/backend")?.split(whereSeparator: \.isNewline).first
            guard backend.map(String.init) == directory, let owner = BlockDevice.nbdOwner(name) else { return nil }
            return VolumeAttachment(
                volume: "-", kind: .nbd, device: "/dev/\(name)", directory: directory, identity: owner)
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
            guard let owner = BlockDevice.nbdOwner(self.device) else { return false }
            return self.identity == "-" || self.identity == owner
        }
    }

    /// Has the loop device detached at its last close, which is now when nobody has it open.
    func detach() {
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
        // An nbd device gets its size from the process that serves it.
        if self.kind == .nbd, self.isOurs, let bytes = BlockDevice.sizeBytes(self.device) { return bytes }
        guard self.kind == .loop, let sequence = DiskSequence(recorded: self.identity), self.isOurs else {
            throw .cannotGrow(device: self.device, reason: "it is no device of ours")
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
            self.detach()
            _ = MountTable.detach(self.fuse)
        case .nbd:
            for attachment in Self.found(in: self.directory) + [self] { attachment.cut(waitingAtMost: .seconds(1)) }
            // Its process goes by itself once the kernel has let it go.
            for _ in 0..<40 where self.isAttached { SystemThread.sleep(.milliseconds(5)) }
        }
        return !self.isAttached
    }
}

extension RunRecords {
    /// What is recorded as attached.
    var attachments: [VolumeAttachment] { self.holdings(.devices).compactMap { VolumeAttachment($0) } }
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

    /// How the kernel has each volume that is attached here: by which carrier, and as which device.
    public static func carriers(runDirectory: String) -> [VolumeName: String] {
        let attachments = RunRecords(directory: runDirectory).attachments
        return Dictionary(
            attachments.filter { $0.device != "-" && $0.volume != "-" }
                .map { (VolumeName($0.volume), "\($0.kind.rawValue) \($0.device)") },
            uniquingKeysWith: { first, _ in first })
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
