import Basis
import ClusterConfiguration
import Glibc
import VolumeServer

extension Driver {
    /// What this binary is besides the daemon and its command line, by its first word. None of them returns.
    public static var roles: [String: ([String]) throws -> Void] {
        ["guard": self.runGuard, "volume-server": self.runVolumeServer, "volume-device": self.runVolumeDevice]
    }

    private static let volumeDeviceOptions = ["--socket", "--mount", "--nbd", "--ready", "--dead-time"]

    /// Shows a volume server's export to the kernel and does not return: the volume agent starts it. `--mount DIRECTORY` shows
    /// it as a file there, `--nbd NAME` as a device of the kernel's nbd, which knows it by that name.
    static func runVolumeDevice(_ words: [String]) throws {
        let options = try HelperOptions(
            words, of: "volume-device", startedBy: "the volume agent", known: self.volumeDeviceOptions)
        let carrier: VolumeDeviceOptions.Carrier =
            if let backend = options["--nbd"] {
                .networkBlockDevice(backend: backend)
            } else {
                .file(directory: try options.text("--mount"))
            }
        let deadTime = try options.value(
            "--dead-time", "length of time", remedy: "write for example 30s", Quantities.span)
        try VolumeDeviceServer.run(
            VolumeDeviceOptions(
                socket: try options.text("--socket"), carrier: carrier, ready: try options.text("--ready"),
                deadTime: deadTime),
            log: { line in
                let text = Array("\(line)\n".utf8)
                _ = text.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            })
    }
}
