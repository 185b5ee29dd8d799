import Basis
import Foundation
import Synchronization

@testable import SecureLink

/// A cluster's certificates in a temporary directory that is removed with it.
final class TestCluster: Sendable {
    let name: String
    let directory: String
    let authority: CertificateAuthority
    /// When its certificates are valid; nil: for ever.
    let valid: Validity?

    init(name: String = "prod", valid: Validity? = nil) throws {
        self.name = name
        self.valid = valid
        self.directory = NSTemporaryDirectory() + "holdfast-tls-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        self.authority = try CertificateAuthority.create(
            clusterName: name, valid: valid ?? CertificateAuthority.forEver)
        try self.authority.save(
            certificatePath: self.directory + "/ca.crt", keyPath: self.directory + "/ca.key")
    }

    deinit { try? FileManager.default.removeItem(atPath: self.directory) }

    func identity(_ nodeName: String, _ node: UInt32) throws -> TLSIdentity {
        let key = try NodeKey.create()
        let certificate = try self.authority.issue(
            nodeName: nodeName, node: NodeID(node), clusterID: self.name,
            request: try key.certificateRequest(nodeName: nodeName), valid: self.valid ?? CertificateAuthority.forEver)
        let base = self.directory + "/" + nodeName
        try key.save(to: base + ".key")
        try PEMFile.write(certificate, to: base + ".crt", isSecret: false)
        return TLSIdentity(
            certificateAuthorityPath: self.directory + "/ca.crt", certificatePath: base + ".crt",
            keyPath: base + ".key")
    }

    func context(_ nodeName: String, _ node: UInt32) throws -> TLSContext {
        try TLSContext(identity: try self.identity(nodeName, node))
    }
}

/// Work on its own thread, with its result.
final class Worker<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)
    private let done = DispatchSemaphore(value: 0)

    init(_ work: @escaping @Sendable () throws -> Value) {
        let thread = Thread {
            let result = Result { try work() }
            self.result.withLock { $0 = result }
            self.done.signal()
        }
        thread.start()
    }

    /// Waits for the end. May be called once.
    func value() throws -> Value {
        self.done.wait()
        guard let result = self.result.withLock({ $0 }) else { preconditionFailure("signalled without a result") }
        return try result.get()
    }
}

/// Both ends of one connection over loopback.
struct Pair {
    let client: TLSStream
    let server: TLSStream

    init(client: TLSContext, server: TLSContext) throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        defer { listener.close() }
        let accepting = Worker {
            try TLSStream.accept(on: listener, context: server, handshakeTimeout: .seconds(20))
        }
        self.client = try TLSStream.connect(
            host: "127.0.0.1", port: listener.port, context: client, timeout: .seconds(20))
        self.server = try accepting.value()
    }
}

/// The other side closed the connection too soon.
struct EndedEarly: Error, Equatable {
    /// Bytes that were still to come.
    let missing: Int
}

extension TLSStream {
    func send(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try self.write($0) }
    }

    /// Fills the buffer, or throws.
    func readExactly(_ buffer: UnsafeMutableRawBufferPointer) throws {
        var done = 0
        while done < buffer.count {
            let count = try self.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
            if count == 0 { throw EndedEarly(missing: buffer.count - done) }
            done += count
        }
    }

    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        try bytes.withUnsafeMutableBytes { try self.readExactly($0) }
        return bytes
    }

    /// One `read`; how much came.
    func readOnce() throws -> Int {
        var bytes = [UInt8](repeating: 0, count: 1024)
        return try bytes.withUnsafeMutableBytes { try self.read(into: $0) }
    }
}
