/// Everything of which another release, or a longer-lived process of one, may read what this release wrote. What each version
/// says is in docs/formats.md; what is promised between releases, in docs/decisions/0016-what-n-1-means.md.
public enum Format: String, CaseIterable, Sendable {
    /// `state`, segments and snapshots of the log: the sealed blocks and what is in them.
    case logFiles = "log files"
    /// The replicated state inside of a snapshot.
    case clusterState = "replicated state"
    /// A command in the log.
    case logEntry = "log entries"
    /// Frames between daemons, with the consensus messages in them.
    case envelope = "messages between daemons"
    /// What a machine that joins says, and is answered.
    case join = "join messages"
    /// The token that an operator carries to it.
    case joinToken = "join tokens"
    /// What a node asks another one about certificates, and is answered.
    case certificates = "certificate messages"
    /// Frames between volume servers.
    case mirrorFrame = "frames between volume servers"
    /// Between the daemon and the volume servers of its node.
    case volumeControl = "volume control messages"
    /// Metadata of a copy.
    case copyMetadata = "copy metadata"
    /// The label behind a copy's data.
    case copyLabel = "copy labels"
    /// `node.json`.
    case nodeFile = "node file"
    /// `generation.json`.
    case generationFile = "generation file"
    /// `tokens.json`.
    case tokenFile = "token file"
    /// The mapped page that daemon, guard and volume servers share.
    case leasePage = "lease page"
    /// `facts.json` in the run directory.
    case facts = "facts file"
    /// All other files of the run directory, by one number for the directory.
    case runDirectory = "run directory"
    /// What `holdfast cluster backup` writes.
    case backup = "backups"
    /// The JSON of the API.
    case api = "API"

    /// The version that this release writes.
    public var version: UInt32 {
        switch self {
        case .logFiles, .joinToken, .volumeControl, .copyLabel, .nodeFile, .generationFile,
            .tokenFile,
            .leasePage, .runDirectory, .backup, .api, .certificates:
            1
        case .envelope, .mirrorFrame, .copyMetadata, .facts: 2
        case .logEntry: 3
        case .clusterState: 4
        case .join: 5
        }
    }

    /// The oldest version that this release reads.
    public var oldest: UInt32 {
        switch self {
        case .clusterState, .logEntry, .envelope: 1
        case .join: 4
        default: self.version
        }
    }

    /// Refuses a version that this release does not read.
    public func check(_ found: UInt32) throws(CodecError) {
        guard (self.oldest...self.version).contains(found) else { throw .foreignVersion(self, found: found) }
    }

    /// What is wrong with a version that this release does not read, as a clause after the name of its file or its writer.
    public func flaw(_ found: UInt32) -> String {
        let read = self.oldest == self.version ? "\(self.version)" : "\(self.oldest) to \(self.version)"
        return "version \(found) of the \(self.rawValue), and this release reads \(read)"
    }
}
