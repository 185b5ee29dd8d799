import Basis
import FoundationEssentials
import Glibc

/// One blocking HTTP/1.1 exchange over a Unix socket.
package enum UnixConnection {
    /// What can go wrong with it.
    package enum Failure: Error, Equatable {
        /// Nobody listens; with the reason of the operating system.
        case notConnected(Int32)
        /// Nothing came in time.
        case timedOut
        /// The connection broke; with the reason.
        case broken(String)
    }

    /// A connected socket, to be closed by the caller.
    package static func open(_ path: String, timeoutSeconds: Double) throws -> Int32 {
        do throws(Errno) {
            return try UnixAddress(path).connect {
                let limit = Span(nanoseconds: UInt64(max(0, timeoutSeconds) * 1_000_000_000))
                SystemSocket.limit($0, SO_RCVTIMEO, limit)
                SystemSocket.limit($0, SO_SNDTIMEO, limit)
            }
        } catch {
            throw error.code == EAGAIN ? Failure.timedOut : Failure.notConnected(error.code)
        }
    }

    /// Sends a request and reads the whole answer.
    package static func exchange(
        _ path: String, method: String, target: String, body: Data, timeoutSeconds: Double
    ) throws -> (status: Int, body: Data) {
        let descriptor = try self.open(path, timeoutSeconds: timeoutSeconds)
        defer { close(descriptor) }
        let head =
            "\(method) \(target) HTTP/1.1\r\nHost: holdfast\r\nConnection: close\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(body.count)\r\n\r\n"
        try self.send(Data(head.utf8) + body, to: descriptor)
        return try self.receive(from: descriptor)
    }

    private static func send(_ data: Data, to descriptor: Int32) throws {
        let code = data.withUnsafeBytes { SystemSocket.send($0, to: descriptor) }
        if code != 0 { throw self.failure(code) }
    }

    private static func receive(from descriptor: Int32) throws -> (status: Int, body: Data) {
        var received = Data()
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var head: (status: Int, bodyStart: Int, length: Int?)?
        while true {
            if head == nil { head = try self.head(of: received) }
            if let head, let length = head.length, received.count >= head.bodyStart + length {
                return (head.status, received.dropFirst(head.bodyStart).prefix(length))
            }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw self.failure(errno) }
            if count == 0 {
                guard let head, head.length == nil else {
                    throw Failure.broken("the connection ended in the middle of the answer")
                }
                return (head.status, received.dropFirst(head.bodyStart))
            }
            received.append(contentsOf: chunk[..<count])
            guard received.count <= 256 << 20 else { throw Failure.broken("the answer is too long") }
        }
    }

    private static func head(of data: Data) throws -> (status: Int, bodyStart: Int, length: Int?)? {
        let gap = Array("\r\n\r\n".utf8)
        let starts = data.indices.dropLast(gap.count - 1)
        guard let end = starts.first(where: { data[$0...].starts(with: gap) }) else { return nil }
        // A line's end is one character.
        let lines = String(decoding: data[..<end], as: UTF8.self).split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw Failure.broken("the answer is not HTTP")
        }
        var length: Int?
        for line in lines.dropFirst() {
            let field = line.split(separator: ":", maxSplits: 1).map { $0.trimmed }
            guard field.count == 2 else { continue }
            if field[0].lowercased() == "content-length" { length = Int(field[1]) }
            if field[0].lowercased() == "transfer-encoding" { throw Failure.broken("the answer comes in chunks") }
        }
        return (status, end + gap.count, length)
    }

    private static func failure(_ reason: Int32) -> Failure {
        if reason == EAGAIN || reason == EWOULDBLOCK { return .timedOut }
        return .broken(SystemText.error(reason))
    }
}

extension UnixConnection {
    /// A connected socket without time limits, to be closed by the caller.
    package static func openBlocking(_ path: String) throws -> Int32 {
        let descriptor = try self.open(path, timeoutSeconds: 1)
        SystemSocket.limit(descriptor, SO_RCVTIMEO, .zero)
        return descriptor
    }
}
