import Glibc
import Node

signal(SIGPIPE, SIG_IGN)
let words = Array(CommandLine.arguments.dropFirst())
if words.first == "guard" {
    // Before anything starts a thread: see `Driver.runGuard`.
    do { try Driver.runGuard(Array(words.dropFirst())) } catch {
        fputs("holdfast: \(error)\n", stderr)
        exit(1)
    }
}
let hooks = Driver.hooks(volumeServer: { _ in
    throw APIFailure(.error, "this build has no volume server", remedy: "use a complete build")
})
exit(await HoldfastCommand.run(hooks: hooks))
