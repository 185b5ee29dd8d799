/// A file or block device that holds the blocks of a copy: everything below it may lie only in the ways that a
/// `SimulatedBlocks` can. Calls return 0 or an `errno`, and may come from several threads.
package protocol BlockFile: Sendable {
    /// Where it is.
    var path: String { get }
    /// A file, which grows; else a device.
    var isFile: Bool { get }
    /// Where the file or device ends; a device may have grown since it was opened.
    var endBytes: UInt64 { get }
    /// Gives a file another size, durably; what is new reads as zeros.
    func resize(to bytes: UInt64) -> Int32
    /// Fills the buffer; EIO where there is less.
    func read(offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32
    /// All of the bytes.
    func write(offset: UInt64, _ data: UnsafeRawBufferPointer) -> Int32
    /// All of the bytes, made stable by themselves.
    func writeDurably(offset: UInt64, _ bytes: [UInt8]) -> Int32
    /// Leaves zeros; as a hole where the backing can and `trim` allows it.
    func zero(offset: UInt64, length: UInt64, trim: Bool) -> Int32
    /// Makes every earlier write stable. After an error what the disk holds is unknown for good. (fsync(2))
    func sync() -> Int32
    /// Data and holes of a range, in order.
    func runs(offset: UInt64, length: UInt64) -> [BlockRun]
    /// Lets another process open it before this object goes away.
    func release()
}

/// A run of data, or of nothing.
package struct BlockRun: Equatable, Sendable {
    /// Bytes in the run.
    package var length: UInt64
    /// Takes no space on the medium, and reads as zeros.
    package var isHole: Bool

    package init(length: UInt64, isHole: Bool) {
        self.length = length
        self.isHole = isHole
    }
}

/// A `Disk` that also has what copies of volumes lie in.
package protocol BlockDisk: Disk {
    associatedtype Blocks: BlockFile
    /// Opens a file or device and takes it for this process alone, or fails with `wouldBlock`; nil where there is none.
    /// With `makes` a missing file is made, empty.
    func openBlocks(_ path: String, makes: Bool) throws(DiskError) -> Blocks?
    /// The highest directory of the file system that holds a path: where it is mounted. Empty when that cannot be found.
    func mountPoint(of path: String) -> String
}
