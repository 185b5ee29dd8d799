import Mirror

/// How the kernel asks for the volume's bytes: one of its carriers, which show a process's answers as a file or a device.
protocol DeviceChannel: AnyObject {
    /// Readable when the kernel asks.
    var descriptor: Int32 { get }
    /// What the kernel asks has been taken from the descriptor and not handed out yet.
    var hasMore: Bool { get }
    /// The kernel has been told all that it needs: users may come.
    var isReady: Bool { get }
    /// Where users find it.
    var path: String { get }
    /// Takes the kernel's next message. Never waits.
    func receive(sizeBytes: UInt64, memory pool: inout DeviceBufferPool) throws(VolumeDeviceError) -> DeviceArrival
    /// Answers a request, which is over.
    func answer(_ id: VolumeDevice.RequestID, _ outcome: VolumeDevice.Outcome, _ held: HeldRequest)
    /// The volume is so large from now on. Why the kernel does not take it up, if it does not.
    func resize(to bytes: UInt64) -> String?
    /// Takes it away from its users.
    func end()
}

/// What an attempt to take a message of the kernel came to.
enum DeviceArrival {
    /// Nothing more for now.
    case empty
    /// There was one, and nothing is left to do about it.
    case handled
    /// The volume's to answer.
    case request(VolumeDevice.RequestID, VolumeDevice.Operation, HeldRequest)
    /// There will be no more: nil when somebody has taken it away, which is how it usually ends.
    case ended(reason: String?)
}

/// A request of the kernel with its memory, from its arrival to its answer.
struct HeldRequest {
    /// What a write stores, or where a read's bytes go.
    var buffer: DeviceBuffer?
    /// Where the payload begins in it.
    var offset = 0
    /// How many bytes a write brings, or the server has been asked for.
    var count = 0
    /// The server's answer brings bytes.
    var isRead = false
    /// How many bytes the kernel wants to read.
    var wanted = 0
}
