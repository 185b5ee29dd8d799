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
        fputs("holdfast: \(error)\n", stderr)
        exit(1)
    }
}
exit(await HoldfastCommand.run(hooks: Driver.hooks(volumeServer: { try Driver.runVolumeServer($0.arguments) })))
