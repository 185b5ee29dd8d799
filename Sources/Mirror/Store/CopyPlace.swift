import Basis

/// Where a copy is, and of what.
package struct CopyPlace: Sendable {
    package var volume: UInt64
    package var name: String
    package var node: NodeID
    package var sizeBytes: UInt64
    package var backingPath: String
    package var metadataPath: String
    /// See `CopyEvidence`.
    package var formerNodes: [NodeID]

    package init(
        volume: UInt64, name: String, node: NodeID, sizeBytes: UInt64, backingPath: String, metadataPath: String,
        formerNodes: [NodeID] = []
    ) {
        self.formerNodes = formerNodes
        self.volume = volume
        self.name = name
        self.node = node
        self.sizeBytes = sizeBytes
        self.backingPath = backingPath
        self.metadataPath = metadataPath
    }

    var subject: MetadataSubject {
        MetadataSubject(volume: self.name, node: self.node, sizeBytes: self.sizeBytes)
    }
}
