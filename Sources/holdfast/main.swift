import Glibc
import Node

signal(SIGPIPE, SIG_IGN)
let words = Array(CommandLine.arguments.dropFirst())
// Before anything starts a thread: see `Driver.runGuard`.
if words.first == "guard" || words.first == "volume-server" {
    do {
        let rest = Array(words.dropFirst())
        if words.first == "guard" { try Driver.runGuard(rest) } else { try Driver.runVolumeServer(rest) }
    } catch {
        let text = Array("holdfast: \(error)\n".utf8)
        _ = text.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(1)
    }
}
exit(await HoldfastCommand.run(hooks: Driver.hooks(volumeServer: { try Driver.runVolumeServer($0.arguments) })))
