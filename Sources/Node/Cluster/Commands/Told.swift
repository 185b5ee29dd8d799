import Basis
import Mirror

/// A word that another node said of itself: one that this release knows, or one of a newer release, kept as it came. So a
/// status from a newer node is read to its end, and only what it cannot mean here stays unsaid.
public enum Told<Word: RawRepresentable<String> & Equatable & Sendable>: Equatable, Sendable {
    case known(Word)
    case foreign(String)

    /// The word, if this release knows it.
    public var known: Word? { if case .known(let word) = self { word } else { nil } }

    func encode(into writer: inout ByteWriter) {
        switch self {
        case .known(let word): writer.string(word.rawValue)
        case .foreign(let text): writer.string(text)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        let text = try reader.string()
        return Word(rawValue: text).map { .known($0) } ?? .foreign(ForeignText.line(text))
    }
}

/// What the server of a copy is doing, as its node tells the others.
public enum CopyRole: String, Equatable, Sendable, CaseIterable {
    /// It serves the export.
    case owner
    /// It follows the owner.
    case replica
    /// An owner whose lease ended: it answers nobody.
    case frozen
    /// It cannot serve.
    case failed
    /// It is connected, and has not said yet.
    case starting
    /// It does not run.
    case absent

    /// The role that a server's own status names.
    init(_ role: VolumeStatus.Role) {
        switch role {
        case .owner: self = .owner
        // Whether it counts is what the others see of it, in the set.
        case .replica, .incomplete: self = .replica
        case .frozen: self = .frozen
        case .failed: self = .failed
        }
    }
}
