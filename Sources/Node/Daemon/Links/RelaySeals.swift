import Basis
import Cluster
import Host
import Raft
import SecureLink

/// Signs what this node sends through a third one, and checks what others sent that way: whoever passes a message on can
/// change nothing of it, make up none, and bring back no old one. (Rule L16)
final class RelaySeals: Sendable {
    /// What is wrong with a message that came through another node.
    enum Flaw: Error, Equatable, Sendable {
        /// It is not what its sender signed, or not signed at all.
        case forged
        /// A later one of the same sender was taken already.
        case late
    }

    private struct Seen {
        var mark: StartMark
        var number: UInt64
    }

    private let node: NodeID
    private let cluster: String
    /// Of the files as they were when `renew` looked last.
    private let latest: Locked<NodeSigner>
    private let lastNumber = Locked<UInt64>(0)
    private let seen = Locked<[NodeID: Seen]>([:])

    init(node: NodeID, cluster: String, identity: TLSIdentity) throws(SecureLinkError) {
        self.node = node
        self.cluster = cluster
        self.latest = Locked(try NodeSigner(identity: identity))
    }

    private var signer: NodeSigner { self.latest.withLock { $0 } }

    /// Takes the files as they are now. It reads them, so not on the loop's thread.
    func renew() {
        let next = self.signer.renewed()
        self.latest.change { $0 = next }
    }

    /// The message with this node's signature; nil if it cannot be signed.
    func sealed(_ envelope: Envelope) -> Envelope? {
        // Numbers grow, also over a restart of the daemon; after one of the machine the marks tell old from new.
        let number = self.lastNumber.change { last -> UInt64 in
            last = max(last + 1, MachineClock.now.nanoseconds)
            return last
        }
        let signer = self.signer
        guard let signature = try? signer.sign(self.text(of: envelope, number)) else { return nil }
        var sealed = envelope
        var writer = ByteWriter(reserving: 1024)
        writer.uint64(number)
        writer.data(signer.certificate)
        writer.data(signature)
        sealed.seal = writer.bytes
        return sealed
    }

    /// Takes a message that another node handed over, or says what is wrong with it.
    func check(_ envelope: Envelope) throws(Flaw) {
        guard let (number, certificate, signature) = Self.parts(of: envelope.seal),
            let signer = self.signer.signer(
                of: self.text(of: envelope, number), signature: signature, certificate: certificate),
            signer.node == envelope.from, signer.cluster == self.cluster
        else { throw .forged }
        let isLate = self.seen.change { seen -> Bool in
            if let last = seen[envelope.from] {
                if envelope.mark.isSameStart(as: last.mark) {
                    if number <= last.number { return true }
                } else if envelope.mark.isBefore(last.mark) {
                    return true
                }
            }
            seen[envelope.from] = Seen(mark: envelope.mark, number: number)
            return false
        }
        if isLate { throw .late }
    }

    private func text(of envelope: Envelope, _ number: UInt64) -> [UInt8] {
        Array("holdfast relay \(self.cluster) \(number) ".utf8) + envelope.content
    }

    private static func parts(of seal: [UInt8]) -> (number: UInt64, certificate: [UInt8], signature: [UInt8])? {
        do {
            var reader = ByteReader(seal)
            let parts = (try reader.uint64(), try reader.data(), try reader.data())
            try reader.finish()
            return parts
        } catch {
            return nil
        }
    }
}
