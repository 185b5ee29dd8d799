import CommandLine
import Daemon
import Glibc
import Reports

signal(SIGPIPE, SIG_IGN)
let words = Array(CommandLine.arguments.dropFirst())
// Before anything starts a thread: see `Driver.runGuard`.
if let role = words.first, let run = Driver.roles[role] {
    do {
        try run(Array(words.dropFirst()))
    } catch {
        let text = Array("holdfast: \(error)\n".utf8)
        _ = text.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(1)
    }
}
exit(await HoldfastCommand.run(hooks: Driver.hooks(volumeServer: { try Driver.runVolumeServer($0.arguments) })))
