import Basis
import FoundationEssentials
import Host
import SecureLink

/// The join tokens that are still good, in a file of the state directory: a restart of the daemon voids none.
///
/// Only a hash of each secret is kept. Times are of the boot clock, so a reboot does void them.
final class JoinTokens: Sendable {
    private struct Form: Codable {
        struct Token: Codable, Equatable {
            /// SHA-256 of the secret, hexadecimal.
            var hash: String
            /// Nanoseconds of the boot clock.
            var expires: UInt64
            /// The only node that it can let in; nil before it was first used.
            var name: String?
        }
        var version = Format.tokenFile.version
        var bootID: String
        var tokens: [Token]
    }

    private struct State {
        var tokens: [Form.Token]
        var inUse: [String] = []
    }

    private static let tokensMaximum = 64

    private let path: String
    private let bootID: String
    private let state: Locked<State>
    /// Another release wrote the file: it is left as it is, and no token is good.
    private let flaw: DriverError?

    /// Takes up what the file holds, if it was written since this boot.
    init(path: String, bootID: String) {
        self.path = path
        self.bootID = bootID
        let data = FileManager.default.contents(atPath: path)
        self.flaw = data.flatMap { VersionedFile.flaw(of: .tokenFile, $0, path: path) }
        let form = self.flaw == nil ? data.flatMap { try? JSONDecoder().decode(Form.self, from: $0) } : nil
        let isUsable = form?.bootID == bootID
        self.state = Locked(State(tokens: isUsable ? form?.tokens ?? [] : []))
    }

    /// Keeps a secret until `expires`; durable on return.
    func add(_ secret: [UInt8], until expires: Tick, at now: Tick) throws {
        if let flaw = self.flaw { throw flaw }
        let hash = try Self.hash(secret)
        try self.state.withLock { state in
            var tokens = state.tokens.filter { $0.expires > now.nanoseconds }
            if tokens.count >= Self.tokensMaximum { tokens.removeFirst() }
            tokens.append(Form.Token(hash: hash, expires: expires.nanoseconds))
            try self.write(tokens)
            state.tokens = tokens
        }
    }

    /// A token that is still good.
    struct Listed: Equatable {
        /// What it is called: the beginning of its hash, which tells nothing of the secret.
        var id: String
        var left: Span
        /// The only node that it can let in, once it was used for one.
        var name: String?
    }

    private static let idDigits = 8

    /// The tokens that are still good, oldest first.
    func list(at now: Tick) throws -> [Listed] {
        if let flaw = self.flaw { throw flaw }
        return self.state.withLock { state in
            state.tokens.filter { $0.expires > now.nanoseconds }.map {
                Listed(
                    id: String($0.hash.prefix(Self.idDigits)), left: Span(nanoseconds: $0.expires - now.nanoseconds),
                    name: $0.name)
            }
        }
    }

    /// Voids a token: unless it lets a node in at this very moment, it lets nobody in any more. Durable on return; false when
    /// there is no such token.
    func revoke(_ id: String) throws -> Bool {
        if let flaw = self.flaw { throw flaw }
        return try self.state.withLock { state in
            let rest = state.tokens.filter { String($0.hash.prefix(Self.idDigits)) != id }
            guard rest.count < state.tokens.count else { return false }
            try self.write(rest)
            state.tokens = rest
            return true
        }
    }

    /// Whether a claimed secret was voided meanwhile.
    func isRevoked(_ secret: [UInt8]) throws -> Bool {
        let hash = try Self.hash(secret)
        return self.state.withLock { state in !state.tokens.contains { $0.hash == hash } }
    }

    /// Whether the secret is good for a node of this name; from then on, until `release` or `use`, it is for nobody
    /// else.
    func claim(_ secret: [UInt8], for name: String, at now: Tick) throws -> Bool {
        if let flaw = self.flaw { throw flaw }
        let hash = try Self.hash(secret)
        return self.state.withLock { state in
            // The hash hides where it differs, so the comparison need not.
            guard
                let token = state.tokens.first(where: { $0.hash == hash && $0.expires > now.nanoseconds }),
                !state.inUse.contains(hash), token.name ?? name == name
            else { return false }
            state.inUse.append(hash)
            return true
        }
    }

    /// A claimed secret is about to let this node in: whatever becomes of that, it lets no other one in. Durable on return.
    func bind(_ secret: [UInt8], to name: String?) throws {
        let hash = try Self.hash(secret)
        try self.state.withLock { state in
            var tokens = state.tokens
            guard let index = tokens.firstIndex(where: { $0.hash == hash }) else { return }
            tokens[index].name = name
            try self.write(tokens)
            state.tokens = tokens
        }
    }

    /// A claimed secret was not used: it is good again.
    func giveBack(_ secret: [UInt8]) throws {
        let hash = try Self.hash(secret)
        self.state.withLock { $0.inUse.removeAll { $0 == hash } }
    }

    /// A claimed secret was used: never again good, durably so on return.
    func use(_ secret: [UInt8]) throws {
        let hash = try Self.hash(secret)
        try self.state.withLock { state in
            let rest = state.tokens.filter { $0.hash != hash }
            try self.write(rest)
            state.tokens = rest
            state.inUse.removeAll { $0 == hash }
        }
    }

    private func write(_ tokens: [Form.Token]) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let data = try encoder.encode(Form(bootID: self.bootID, tokens: tokens))
        try PEMFile.write(String(decoding: data, as: UTF8.self) + "\n", to: self.path, isSecret: true)
    }

    private static func hash(_ secret: [UInt8]) throws -> String {
        try SecureRandom.digest(secret).map { $0.hexadecimal(digits: 2) }.joined()
    }
}
