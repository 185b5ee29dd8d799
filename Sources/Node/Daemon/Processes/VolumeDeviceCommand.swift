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
        var options: [String: String] = [:]
        var rest = words[...]
        while let name = rest.popFirst() {
            guard self.volumeDeviceOptions.contains(name), let value = rest.popFirst() else {
                throw DriverError.argument(
                    name: "volume-device", value: name, reason: "this is not an option with a value",
                    remedy: "let the volume agent start it, or give \(self.volumeDeviceOptions.joined(separator: ", "))"
                )
            }
            options[name] = value
        }
        func text(_ name: String) throws -> String {
            if let value = options[name] { return value }
            throw DriverError.argument(
                name: name, value: "", reason: "it is missing", remedy: "let the volume agent start the device")
        }
        let carrier: VolumeDeviceOptions.Carrier =
            if let backend = options["--nbd"] {
                .networkBlockDevice(backend: backend)
            } else {
                .file(directory: try text("--mount"))
            }
        let time = try text("--dead-time")
        guard let deadTime = Quantities.span(time) else {
            throw DriverError.argument(
                name: "--dead-time", value: time, reason: "it is no length of time", remedy: "write for example 30s")
        }
        try VolumeDeviceServer.run(
            VolumeDeviceOptions(
                socket: try text("--socket"), carrier: carrier, ready: try text("--ready"), deadTime: deadTime),
            log: { line in
                let text = Array("\(line)\n".utf8)
                _ = text.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            })
    }
}
