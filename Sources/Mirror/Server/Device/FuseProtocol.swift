import CLinux
import Glibc
import Mirror

/// One message of the kernel. (linux/fuse.h; fuse(4))
struct FuseRequest {
    let opcode: UInt32
    let id: VolumeDevice.RequestID
    let node: UInt64
    /// What follows the header; valid until the next message is read.
    let body: UnsafeRawBufferPointer

    /// The message, or nil when it is shorter than it says.
    init?(_ message: UnsafeRawBufferPointer) {
        let size = MemoryLayout<fuse_in_header>.size
        guard message.count >= size else { return nil }
        let header = message.loadUnaligned(as: fuse_in_header.self)
        guard Int(header.len) == message.count else { return nil }
        self.opcode = header.opcode
        self.id = VolumeDevice.RequestID(header.unique)
        self.node = header.nodeid
        self.body = UnsafeRawBufferPointer(rebasing: message[size...])
    }

    /// The body's structure.
    func argument<Argument>(_ type: Argument.Type) -> Argument? {
        self.body.count >= MemoryLayout<Argument>.size ? self.body.loadUnaligned(as: type) : nil
    }
}

/// A file system of one directory with one file, the volume: what each message means. (linux/fuse.h)
struct FuseFile {
    /// What a message comes to.
    enum Meaning: Equatable {
        /// The kernel waits for nothing.
        case nothing
        /// Answer at once with these bytes.
        case reply([UInt8])
        /// Answer at once with this errno value.
        case refuse(Int32)
        /// The volume's to answer. A write's payload has `payloadBytes`, from this far into the body.
        case volume(VolumeDevice.Operation, payloadOffset: Int, payloadBytes: Int)
    }

    static let name = "nbd"
    private static let root = UInt64(FUSE_ROOT_ID)
    private static let file: UInt64 = 2
    /// Requests that the kernel may have under way by itself; each may hold a payload's memory.
    private static let backgroundMax: UInt16 = 64
    private static let pageBytes = 4096
    /// The first kernel protocol with FUSE_MAX_PAGES: Linux 4.20.
    private static let minorLeast: UInt32 = 28
    private static let minorMost: UInt32 = 38

    // S_IFDIR and S_IFREG, which come from two modules.
    private static let directory: UInt32 = 0o040_000
    private static let regular: UInt32 = 0o100_000

    /// The kernel has been told how to ask.
    private(set) var isInitialized = false

    /// What this message means while the volume is so large.
    mutating func meaning(of request: FuseRequest, sizeBytes: UInt64) -> Meaning {
        switch fuse_opcode(request.opcode) {
        case FUSE_INIT: return self.initialize(request)
        case FUSE_LOOKUP: return Self.lookUp(request, sizeBytes)
        case FUSE_FORGET, FUSE_BATCH_FORGET: return .nothing
        // Whoever was interrupted gets its answer as soon as there is one: half a write cannot be taken back.
        case FUSE_INTERRUPT: return .nothing
        case FUSE_GETATTR: return Self.attributes(request.node, sizeBytes)
        case FUSE_SETATTR: return Self.setAttributes(request, sizeBytes)
        case FUSE_OPEN: return Self.open(request)
        case FUSE_OPENDIR: return .reply(Self.bytes(fuse_open_out()))
        case FUSE_READDIR: return Self.list(request)
        case FUSE_STATFS: return Self.space(sizeBytes)
        // Closing promises nothing about the disk; fsync does.
        case FUSE_FLUSH, FUSE_RELEASE, FUSE_RELEASEDIR, FUSE_DESTROY: return .reply([])
        case FUSE_READ, FUSE_WRITE, FUSE_FSYNC, FUSE_FALLOCATE:
            return request.node == Self.file ? Self.volume(request) : .refuse(EISDIR)
        default: return .refuse(ENOSYS)
        }
    }

    /// Agrees with the kernel on the largest requests, many at a time, and no cache of writes: a write is over when the
    /// volume has it.
    private mutating func initialize(_ request: FuseRequest) -> Meaning {
        guard request.body.count >= 16 else { return .refuse(EPROTO) }
        let major = request.body.loadUnaligned(as: UInt32.self)
        let minor = request.body.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
        let readAhead = request.body.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        let offered = request.body.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
        guard major == UInt32(FUSE_KERNEL_VERSION), minor >= Self.minorLeast else { return .refuse(EPROTO) }
        let wanted = UInt32(
            FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS
                | FUSE_ABORT_ERROR)
        var answer = fuse_init_out()
        answer.major = UInt32(FUSE_KERNEL_VERSION)
        answer.minor = min(minor, Self.minorMost)
        answer.max_readahead = readAhead
        answer.flags = offered & wanted
        answer.max_background = Self.backgroundMax
        answer.congestion_threshold = Self.backgroundMax * 3 / 4
        answer.max_write = UInt32(DeviceBufferPool.payloadBytesMax)
        answer.time_gran = 1
        answer.max_pages = UInt16(DeviceBufferPool.payloadBytesMax / Self.pageBytes)
        self.isInitialized = true
        return .reply(Self.bytes(answer))
    }

    /// Nothing is kept in mind by the kernel, so that a file that has grown is seen to be larger at once.
    private static func attributes(of node: UInt64, _ sizeBytes: UInt64) -> fuse_attr {
        var attributes = fuse_attr()
        attributes.ino = node
        attributes.nlink = node == Self.root ? 2 : 1
        attributes.mode = node == Self.root ? Self.directory | 0o700 : Self.regular | 0o600
        attributes.uid = geteuid()
        attributes.gid = getegid()
        attributes.blksize = UInt32(Self.pageBytes)
        if node == Self.file {
            attributes.size = sizeBytes
            attributes.blocks = sizeBytes / 512
        }
        return attributes
    }

    private static func attributes(_ node: UInt64, _ sizeBytes: UInt64) -> Meaning {
        guard node == Self.root || node == Self.file else { return .refuse(ENOENT) }
        var answer = fuse_attr_out()
        answer.attr = Self.attributes(of: node, sizeBytes)
        return .reply(Self.bytes(answer))
    }

    private static func lookUp(_ request: FuseRequest, _ sizeBytes: UInt64) -> Meaning {
        guard request.node == Self.root, request.body.elementsEqual(Array(Self.name.utf8) + [0]) else {
            return .refuse(ENOENT)
        }
        var answer = fuse_entry_out()
        answer.nodeid = Self.file
        answer.attr = Self.attributes(of: Self.file, sizeBytes)
        return .reply(Self.bytes(answer))
    }

    /// Times are of no consequence here; the size is the volume's, and owner and mode are fixed.
    private static func setAttributes(_ request: FuseRequest, _ sizeBytes: UInt64) -> Meaning {
        guard let wish = request.argument(fuse_setattr_in.self) else { return .refuse(EINVAL) }
        let harmless = UInt32(
            FATTR_FH | FATTR_LOCKOWNER | FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW | FATTR_CTIME)
        let isSameSize = wish.valid & UInt32(FATTR_SIZE) == 0 || (request.node == Self.file && wish.size == sizeBytes)
        guard wish.valid & ~(harmless | UInt32(FATTR_SIZE)) == 0, isSameSize else { return .refuse(EPERM) }
        return Self.attributes(request.node, sizeBytes)
    }

    /// Without the kernel's page cache: whoever opens the file, and however, a write that has returned is at the volume
    /// server, and a read comes from there. The file systems above have a cache of their own.
    private static func open(_ request: FuseRequest) -> Meaning {
        guard request.node == Self.file else { return .refuse(EISDIR) }
        var answer = fuse_open_out()
        answer.open_flags = UInt32(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES)
        return .reply(Self.bytes(answer))
    }

    private static func list(_ request: FuseRequest) -> Meaning {
        guard let wish = request.argument(fuse_read_in.self) else { return .refuse(EINVAL) }
        let entries: [(node: UInt64, type: UInt32, name: String)] = [
            (Self.root, UInt32(DT_DIR), "."), (Self.root, UInt32(DT_DIR), ".."), (Self.file, UInt32(DT_REG), Self.name),
        ]
        var listed: [UInt8] = []
        for (index, entry) in entries.enumerated() where UInt64(index) >= wish.offset {
            var head = fuse_dirent()
            head.ino = entry.node
            head.off = UInt64(index + 1)
            head.namelen = UInt32(entry.name.utf8.count)
            head.type = entry.type
            var record = Self.bytes(head)
            record += Array(entry.name.utf8)
            record += Array(repeating: 0, count: (8 - record.count % 8) % 8)
            guard listed.count + record.count <= Int(wish.size) else { break }
            listed += record
        }
        return .reply(listed)
    }

    private static func space(_ sizeBytes: UInt64) -> Meaning {
        var answer = fuse_statfs_out()
        // A loop device takes this for the unit of discards.
        answer.st.bsize = UInt32(Self.pageBytes)
        answer.st.frsize = UInt32(Self.pageBytes)
        answer.st.blocks = sizeBytes / UInt64(Self.pageBytes)
        answer.st.files = 1
        answer.st.namelen = UInt32(Self.name.utf8.count)
        return .reply(Self.bytes(answer))
    }

    private static func volume(_ request: FuseRequest) -> Meaning {
        switch fuse_opcode(request.opcode) {
        case FUSE_READ:
            guard let wish = request.argument(fuse_read_in.self), Int(wish.size) <= DeviceBufferPool.payloadBytesMax
            else { return .refuse(EINVAL) }
            let extent = Extent(offset: wish.offset, length: UInt64(wish.size))
            return .volume(.read(extent), payloadOffset: 0, payloadBytes: 0)
        case FUSE_WRITE:
            guard let wish = request.argument(fuse_write_in.self) else { return .refuse(EINVAL) }
            let offset = MemoryLayout<fuse_write_in>.size
            guard request.body.count - offset == Int(wish.size) else { return .refuse(EINVAL) }
            // An asynchronous write through O_DSYNC is followed by no fsync of the kernel's.
            let isDurable = wish.flags & UInt32(O_DSYNC) != 0
            let extent = Extent(offset: wish.offset, length: UInt64(wish.size))
            return .volume(.write(extent, durable: isDurable), payloadOffset: offset, payloadBytes: Int(wish.size))
        case FUSE_FALLOCATE:
            guard let wish = request.argument(fuse_fallocate_in.self) else { return .refuse(EINVAL) }
            return Self.zero(wish)
        default: return .volume(.flush, payloadOffset: 0, payloadBytes: 0)
        }
    }

    /// A hole must read as zeroes, which NBD's TRIM does not promise: both are WRITE_ZEROES, which may leave a hole or not.
    private static func zero(_ wish: fuse_fallocate_in) -> Meaning {
        let extent = Extent(offset: wish.offset, length: wish.length)
        switch wish.mode & ~Self.keepSize {
        case Self.punchHole: return .volume(.zero(extent, mayTrim: true), payloadOffset: 0, payloadBytes: 0)
        case Self.zeroRange: return .volume(.zero(extent, mayTrim: false), payloadOffset: 0, payloadBytes: 0)
        default: return .refuse(EOPNOTSUPP)
        }
    }

    // FALLOC_FL_ of linux/falloc.h
    private static let keepSize: UInt32 = 0x01
    private static let punchHole: UInt32 = 0x02
    private static let zeroRange: UInt32 = 0x10

    private static func bytes<Value>(_ value: Value) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
}
