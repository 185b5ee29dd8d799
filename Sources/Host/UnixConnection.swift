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
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw Failure.notConnected(ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure.notConnected(errno) }
        var limit = timeval(
            tv_sec: Int(timeoutSeconds), tv_usec: Int((timeoutSeconds - timeoutSeconds.rounded(.down)) * 1_000_000))
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let reason = errno
            close(descriptor)
            throw reason == EAGAIN ? Failure.timedOut : Failure.notConnected(reason)
        }
        return descriptor
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
        try data.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[sent...])
                let count = Glibc.send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw self.failure() }
                sent += count
            }
        }
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
            guard count >= 0 else { throw self.failure() }
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

    private static func failure() -> Failure {
        let reason = errno
        if reason == EAGAIN || reason == EWOULDBLOCK { return .timedOut }
        return .broken(SystemText.error(reason))
    }
}

extension UnixConnection {
    /// A connected socket without time limits, to be closed by the caller.
    package static func openBlocking(_ path: String) throws -> Int32 {
        let descriptor = try self.open(path, timeoutSeconds: 1)
        var limit = timeval(tv_sec: 0, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }
}
