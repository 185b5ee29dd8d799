import Foundation

/// Threads that block.
enum DriverThread {
    /// Runs `body` on a thread of its own; the name shows in `ps -L`.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
        let thread = Thread(block: body)
        thread.name = name
        thread.stackSize = 1 << 20
        thread.start()
    }
}
