import Basis
import FoundationEssentials
import Glibc
import Host

/// What is on disk about a running service, so that a restarted daemon can adopt it. (Rule L10)
public struct ServiceRecord: Equatable, Sendable, Codable {
    /// The group.
    public var group: String
    /// The resource.
    public var resource: String
    /// The main process.
    public var pid: Int32
    /// Its start time, clock ticks since boot; with the pid it names the process for certain.
    public var startTime: UInt64
    /// The generation of the epoch under which it was started.
    public var generation: UInt32
    /// The index of the epoch under which it was started.
    public var index: UInt64

    /// The epoch under which it was started.
    public var epoch: Epoch { Epoch(generation: self.generation, index: self.index) }
    /// The main process.
    public var identity: ProcessIdentity { ProcessIdentity(pid: self.pid, startTime: self.startTime) }
}

/// The files below the run directory that say what runs; each is written before the thing that it names exists.
struct RunRecords: Sendable {
    let directory: String

    static func stem(_ group: GroupName, _ resource: ResourceName) -> String {
        Files.component(group.rawValue) + "." + Files.component(resource.rawValue)
    }

    // MARK: Services

    func serviceLog(_ group: GroupName, _ resource: ResourceName) -> String {
        "\(self.directory)/services/\(Self.stem(group, resource)).log"
    }

    private func servicePath(_ group: GroupName, _ resource: ResourceName) -> String {
        "\(self.directory)/services/\(Self.stem(group, resource)).json"
    }

    func write(_ record: ServiceRecord) throws(AgentError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let path = self.servicePath(GroupName(record.group), ResourceName(record.resource))
        guard let data = try? encoder.encode(record) else { throw .file(path: path, action: "encode", code: EINVAL) }
        try Files.replace(path, String(decoding: data, as: UTF8.self) + "\n")
    }

    func service(_ group: GroupName, _ resource: ResourceName) -> ServiceRecord? {
        self.decode(self.servicePath(group, resource))
    }

    func removeService(_ group: GroupName, _ resource: ResourceName) { unlink(self.servicePath(group, resource)) }

    /// Every recorded service, sorted by file name; of one group when given, and then no others are read.
    func services(of group: GroupName? = nil) -> [ServiceRecord] {
        Files.list(self.directory + "/services", beginning: Self.beginning(group)).filter { $0.hasSuffix(".json") }
            .compactMap { self.decode(self.directory + "/services/" + $0) }
            .filter { group == nil || $0.group == group?.rawValue }
    }

    /// How the names of a group's files begin; those of others may too.
    static func beginning(_ group: GroupName?) -> String {
        group.map { Files.component($0.rawValue) + "." } ?? ""
    }

    private func decode(_ path: String) -> ServiceRecord? {
        guard let text = Files.text(path) else { return nil }
        return try? JSONDecoder().decode(ServiceRecord.self, from: Data(text.utf8))
    }

    // MARK: Addresses, mounts and devices

    /// What else a resource holds on this node. The first line of the file is what the guard reads.
    struct Holding: Equatable {
        var group: String
        var resource: String
        /// Words of the first line: `CIDR INTERFACE`, `MOUNTPOINT DEVICE`, or `VOLUME KIND DEVICE DIRECTORY
        /// IDENTITY`, escaped as %XX.
        var words: [String]
    }

    enum Kind: String, CaseIterable {
        case addresses
        case mounts
        case devices
    }

    func write(_ kind: Kind, _ holding: Holding) throws(AgentError) {
        let first = holding.words.map(Self.escape).joined(separator: " ")
        let second = "\(Self.escape(holding.group)) \(Self.escape(holding.resource))"
        try Files.replace(
            self.path(kind, GroupName(holding.group), ResourceName(holding.resource)), "\(first)\n\(second)\n")
    }

    func holding(_ kind: Kind, _ group: GroupName, _ resource: ResourceName) -> Holding? {
        self.parse(self.path(kind, group, resource))
    }

    func remove(_ kind: Kind, _ group: GroupName, _ resource: ResourceName) {
        unlink(self.path(kind, group, resource))
    }

    /// Everything of a kind, sorted by file name; of one group when given.
    func holdings(_ kind: Kind, of group: GroupName? = nil) -> [Holding] {
        let directory = "\(self.directory)/\(kind.rawValue)"
        return Files.list(directory, beginning: Self.beginning(group)).filter { !$0.hasSuffix(".new") }
            .compactMap { self.parse(directory + "/" + $0) }
            .filter { group == nil || $0.group == group?.rawValue }
    }

    /// Where there is a record of a kind that says nothing; of one group when given.
    func unreadableHoldings(_ kind: Kind, of group: GroupName?) -> [String] {
        let directory = "\(self.directory)/\(kind.rawValue)"
        return Files.list(directory, beginning: Self.beginning(group)).filter { !$0.hasSuffix(".new") }
            .map { directory + "/" + $0 }.filter { self.parse($0) == nil }
    }

    private func path(_ kind: Kind, _ group: GroupName, _ resource: ResourceName) -> String {
        "\(self.directory)/\(kind.rawValue)/\(Self.stem(group, resource))"
    }

    private func parse(_ path: String) -> Holding? {
        guard let text = Files.text(path) else { return nil }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let first = lines.first, !first.isEmpty else { return nil }
        let owner = lines.count > 1 ? lines[1].split(separator: " ").map { Self.unescape($0) } : []
        return Holding(
            group: owner.first ?? "", resource: owner.count > 1 ? owner[1] : "",
            words: first.split(separator: " ").map { Self.unescape($0) })
    }

    private static func escape(_ text: String) -> String {
        text.replacing("%", with: "%25").replacing(" ", with: "%20").replacing("\n", with: "%0A")
    }

    private static func unescape(_ text: Substring) -> String {
        String(text).replacing("%0A", with: "\n").replacing("%20", with: " ").replacing("%25", with: "%")
    }
}
