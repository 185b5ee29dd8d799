import Basis
import FoundationEssentials
import Host

/// The versions of the small files of a node, looked at before anything else in them is believed.
enum VersionedFile {
    private struct Form: Decodable {
        var version: UInt32?
    }

    /// Why a JSON file of another release is not read; nil if it may be, or is no JSON at all.
    static func flaw(of format: Format, _ data: Data, path: String) -> DriverError? {
        guard let found = (try? JSONDecoder().decode(Form.self, from: data))?.version else { return nil }
        return self.flaw(of: format, found, path: path)
    }

    private static func flaw(of format: Format, _ found: UInt32, path: String) -> DriverError? {
        do throws(CodecError) {
            try format.check(found)
            return nil
        } catch {
            return .file(path: path, reason: error.description, remedy: "install the release that wrote it")
        }
    }

    /// The file that says of which version everything in a run directory is.
    static func mark(ofRunDirectory directory: String) -> String { directory + "/version" }

    /// Refuses a run directory that another release began, and marks one that nobody has marked. What lies there says what runs
    /// and how it is stopped (rules L10, L11.5): whoever misreads it leaves something running.
    static func claim(runDirectory directory: String) throws(DriverError) {
        let path = self.mark(ofRunDirectory: directory)
        if let text = Files.text(path) {
            let found = UInt32(text.trimmed)
            if let found, let flaw = self.flaw(of: .runDirectory, found, path: path) { throw flaw }
            guard found == nil else { return }
            throw .file(
                path: path, reason: "it holds no number",
                remedy: "stop what runs here, or reboot, then start the daemon")
        }
        try FactsFile.replace(path, with: "\(Format.runDirectory.version)\n")
    }
}
