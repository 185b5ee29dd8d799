import Basis
import Cluster
import Glibc
import Host
import Resources

/// Asks a disk for a sign of life every second, on a thread of its own. The log of a quiet cluster is hardly ever
/// written: without this a disk that died would be noticed only when the log is needed. (decisions/0002)
///
/// The looks of the loop are counted, not the time alone: after a pause of the whole machine the disk has a fresh chance.
struct DiskProbe {
    private struct State {
        var asked = 0
        var answered = 0
        var failure: DriverError?
        var isClosed = false
    }

    private static let interval = Span.seconds(1)
    private static let looksMinimum = 50
    /// `O_DIRECT` of open(2), which the C library's module does not show.
    #if arch(arm64)
        private static let direct: Int32 = 0o200000
    #else
        private static let direct: Int32 = 0o40000
    #endif

    /// What it asks for.
    let path: String
    private let silenceMaximum: Span
    private let state = Locked(State())
    private var nextAt = Tick.zero
    private var askedAt = Tick.zero
    private var looks = 0

    /// For the log: writes and syncs one byte beside it. A disk under load may take a while; one that is silent for five
    /// seconds is dead.
    init(directory: String) throws(DriverError) {
        let path = directory + "/probe"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure(path, "it cannot be opened", errno) }
        self.init(path: path) { Self.touch(descriptor, path) }
    }

    /// For a copy of a volume: reads a block of it past the page cache. Errors are its volume server's business; only
    /// silence counts, and longer than for the log, because a path that fails over may take a while.
    init(copy path: String) {
        self.init(path: path, silenceMaximum: .seconds(10)) {
            Self.read(path)
            return nil
        }
    }

    /// `touch` gets an answer, or says what is wrong with it; it may take for ever.
    init(path: String, silenceMaximum: Span = .seconds(5), touch: @escaping @Sendable () -> DriverError?) {
        self.path = path
        self.silenceMaximum = silenceMaximum
        let state = self.state
        SystemThread.start("probe") {
            while true {
                let number = state.wait { $0.isClosed ? 0 : $0.asked > $0.answered ? $0.asked : nil } ?? 0
                guard number > 0 else { return }
                let failure = touch()
                state.change {
                    $0.answered = number
                    $0.failure = failure
                }
            }
        }
    }

    /// Called by the loop about twenty times a second: why the disk is dead, as long as it is.
    mutating func look(at now: Tick) -> DriverError? {
        let state = self.state.withLock { $0 }
        if let failure = state.failure { return failure }
        if state.asked > state.answered {
            self.looks += 1
            guard self.looks >= Self.looksMinimum, now.since(self.askedAt) >= self.silenceMaximum else { return nil }
            return .file(
                path: self.path, reason: "the disk has not answered for \(now.since(self.askedAt))",
                remedy: "look for device errors (dmesg); the node comes back by itself once the disk answers")
        }
        guard now >= self.nextAt else { return nil }
        self.nextAt = now + Self.interval
        self.askedAt = now
        self.looks = 0
        self.state.change { $0.asked += 1 }
        return nil
    }

    /// Asks no more.
    func close() { self.state.change { $0.isClosed = true } }

    /// Waits until the disk has answered all it was asked.
    func waitForAnswer() { _ = self.state.wait { $0.answered == $0.asked ? true : nil } }

    private static func touch(_ descriptor: Int32, _ path: String) -> DriverError? {
        var byte: UInt8 = 10
        while pwrite(descriptor, &byte, 1, 0) != 1 {
            if errno != EINTR { return self.failure(path, "it cannot be written", errno) }
        }
        guard fdatasync(descriptor) == 0 else { return self.failure(path, "it cannot be synced", errno) }
        return nil
    }

    private static func read(_ path: String) {
        let descriptor = open(path, O_RDONLY | Self.direct | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { Glibc.close(descriptor) }
        let block = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { block.deallocate() }
        _ = pread(descriptor, block, 4096, 0)
    }

    private static func failure(_ path: String, _ what: String, _ code: Int32) -> DriverError {
        .file(
            path: path, reason: "\(what): \(SystemText.error(code))",
            remedy: "look for device errors (dmesg), repair the disk; the node comes back once it can be written")
    }
}

/// The disks under the copies of volumes on this node.
///
/// When the owner's own copy never answers, no error reaches anybody: the service hangs with its disk, cannot be stopped,
/// and so cannot be moved. Then the node gives up its lease, which needs nobody's consent. A replica that is silent is
/// the owner's business. (Rules L12, V3)
struct CopyProbes {
    private var probes: [(name: VolumeName, probe: DiskProbe)] = []

    /// Watches these copies and no others.
    mutating func keep(_ specs: [VolumeServerSpec]) {
        let wanted = specs.map { ($0.policy.name, $0.replica.backing) }
        let gone = self.probes.filter { old in !wanted.contains { $0 == (old.name, old.probe.path) } }
        for (_, probe) in gone { probe.close() }
        self.probes.removeAll { old in gone.contains { $0.name == old.name } }
        for (name, path) in wanted where !self.probes.contains(where: { $0.name == name }) {
            self.probes.append((name, DiskProbe(copy: path)))
        }
    }

    /// Why a volume that is open here is dead, if one is.
    mutating func look(at now: Tick, isOpenHere: (VolumeName) -> Bool) -> DriverError? {
        var found: DriverError?
        for place in self.probes.indices {
            guard let failure = self.probes[place].probe.look(at: now), isOpenHere(self.probes[place].name) else {
                continue
            }
            found = found ?? failure
        }
        return found
    }
}
