import Basis
import Host
import Raft

/// The names of the files in a log directory.
enum LogNames {
    static let lock = "lock"
    static let state = "state"
    static let temporarySuffix = ".tmp"
    private static let segmentPrefix = "log-"
    private static let snapshotPrefix = "snapshot-"
    private static let digits = 20

    /// The segment whose first frame has this number.
    static func segment(firstFrame: UInt64) -> String { self.segmentPrefix + self.padded(firstFrame) }

    /// The snapshot that ends at this place.
    static func snapshot(_ mark: LogMark) -> String {
        "\(self.snapshotPrefix)\(self.padded(mark.index.rawValue))-\(self.padded(mark.term.rawValue))"
    }

    /// The number in a segment's name; nil for any other name.
    static func firstFrame(ofSegment name: String) -> UInt64? {
        guard name.hasPrefix(self.segmentPrefix), name.utf8.count == self.segmentPrefix.utf8.count + self.digits else {
            return nil
        }
        return UInt64(name.dropFirst(self.segmentPrefix.count))
    }

    static func isSnapshot(_ name: String) -> Bool {
        name.hasPrefix(self.snapshotPrefix) && !name.hasSuffix(self.temporarySuffix)
    }

    private static func padded(_ value: UInt64) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, self.digits - text.utf8.count)) + text
    }
}

extension Disk {
    /// Makes a whole file durable under its name: a crash leaves the old file or the new one. The file stays open.
    func replace(directory: String, name: String, with bytes: [UInt8]) throws(DiskError) -> DiskFile {
        try self.replace(directory: directory, name: name, with: [bytes], pace: .max) { () throws(DiskError) in }
    }

    /// The same of a file whose content comes in parts, at most `pace` bytes between two synchronizations: what others write
    /// meanwhile waits for no more than that. Before each `goesOn` may end it by throwing.
    func replace(
        directory: String, name: String, with parts: [[UInt8]], pace: Int, goesOn: () throws(DiskError) -> Void
    ) throws(DiskError) -> DiskFile {
        let path = "\(directory)/\(name)"
        let temporary = path + LogNames.temporarySuffix
        let file = try self.create(temporary)
        do throws(DiskError) {
            var end = 0
            for part in parts {
                for start in stride(from: 0, to: part.count, by: min(pace, max(part.count, 1))) {
                    try goesOn()
                    let isWhole = part.count <= pace
                    let piece = isWhole ? part : Array(part[start..<min(start + pace, part.count)])
                    try self.write(piece, to: file, at: UInt64(end))
                    end += piece.count
                    // The last one is synchronized below.
                    if !isWhole { try self.synchronize(file) }
                }
            }
            try self.synchronize(file)
            try self.rename(temporary, to: path)
            try self.synchronizeDirectory(directory)
        } catch {
            self.close(file)
            throw error
        }
        return DiskFile(file.rawValue, path: path)
    }
}
