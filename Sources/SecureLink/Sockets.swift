import Basis
import Glibc
import Host

/// Socket calls that both ends share.
enum Sockets {
    /// How long sent data may stay unacknowledged before the kernel gives the connection up. It also bounds how long a
    /// peer may keep its receive window closed.
    static let unacknowledgedLimit = Span.seconds(5)

    /// `host:port`, with brackets around IPv6 addresses.
    static func label(_ host: String, _ port: UInt16) -> String {
        HostPort(host: host, port: port).text
    }

    /// Runs `body` for each address of the host until it returns a value.
    static func eachAddress<Value>(
        host: String, port: UInt16, passive: Bool, _ body: (UnsafePointer<addrinfo>) -> Value?
    ) throws(SecureLinkError) -> Value? {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)
        var list: UnsafeMutablePointer<addrinfo>?
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        let status = getaddrinfo(passive && bare.isEmpty ? "::" : bare, String(port), &hints, &list)
        guard status == 0 else {
            throw .unresolved(host: host, port: port, reason: String(cString: gai_strerror(status)))
        }
        defer { freeaddrinfo(list) }
        var next = list
        while let address = next {
            if let value = body(address) { return value }
            next = address.pointee.ai_next
        }
        return nil
    }

    /// Low latency, and early notice of a dead peer.
    static func prepare(_ descriptor: Int32) {
        self.set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        self.set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
        self.set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE, 3)
        self.set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPINTVL, 1)
        self.set(descriptor, Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
        self.set(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(self.unacknowledgedLimit.milliseconds))
    }

    static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Connects within the deadline; the socket is non-blocking. `nil` with a reason in `failure` otherwise.
    static func connect(to address: UnsafePointer<addrinfo>, deadline: Tick, failure: inout Int32) -> Int32? {
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.pointee.ai_family, address.pointee.ai_socktype | flags, 0)
        guard descriptor >= 0 else {
            failure = errno
            return nil
        }
        self.prepare(descriptor)
        if Glibc.connect(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 { return descriptor }
        failure = errno
        if failure == EINPROGRESS || failure == EINTR {
            failure = ETIMEDOUT
            if self.wait(descriptor, Int16(POLLOUT), deadline: deadline) {
                var length = socklen_t(MemoryLayout<Int32>.size)
                if getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) == 0, failure == 0 {
                    return descriptor
                }
            }
        }
        close(descriptor)
        return nil
    }

    /// Waits until the socket is ready or broken; false once the deadline has passed.
    static func wait(_ descriptor: Int32, _ events: Int16, deadline: Tick) -> Bool {
        while true {
            var milliseconds: Int32 = -1
            if deadline != .never {
                let left = deadline.since(MachineClock.now)
                if left == .zero { return false }
                milliseconds = Int32(min(left.milliseconds + 1, 1_000_000))
            }
            var item = pollfd(fd: descriptor, events: events, revents: 0)
            let count = poll(&item, 1, milliseconds)
            if count > 0 || (count < 0 && errno != EINTR && errno != EAGAIN) { return true }
        }
    }

    /// The one way to write a numeric address: what `numericName` says of it. nil when the host is a name.
    static func canonical(_ host: String) -> String? {
        guard let bytes = self.bytes(ofNumeric: host) else { return nil }
        let isMapped = bytes.count == 16 && bytes.prefix(12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
        let shown = isMapped ? Array(bytes.suffix(4)) : bytes
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = shown.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, shown, &text, socklen_t(text.count)) != nil else { return nil }
        return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
    }

    /// What one sender cannot choose freely: an IPv4 address, or the network part of an IPv6 address.
    static func sourceKey(_ host: String) -> String {
        guard let bytes = self.bytes(ofNumeric: host), bytes.count == 16 else { return host }
        return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":") + "/64"
    }

    private static func bytes(ofNumeric host: String) -> [UInt8]? {
        let bare = host.prefix { $0 != "%" }
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, String(bare), &bytes) == 1 { return Array(bytes.prefix(4)) }
        return inet_pton(AF_INET6, String(bare), &bytes) == 1 ? bytes : nil
    }

    /// The numeric address of the other end.
    static func peerLabel(_ descriptor: Int32) -> String {
        self.numericName(descriptor, getpeername).map { self.label($0.host, $0.port) } ?? "an unknown peer"
    }

    /// The host and port that `get` (getpeername or getsockname) tells.
    static func numericName(
        _ descriptor: Int32,
        _ get: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
    ) -> (host: String, port: UInt16)? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                get(descriptor, address, &length) == 0 ? self.numericName(address, length) : nil
            }
        }
    }

    /// An address as text.
    static func numericName(_ address: UnsafePointer<sockaddr>?, _ length: socklen_t) -> (host: String, port: UInt16)? {
        var host = [CChar](repeating: 0, count: 128)
        var service = [CChar](repeating: 0, count: 16)
        let flags = NI_NUMERICHOST | NI_NUMERICSERV
        guard let address, getnameinfo(address, length, &host, 128, &service, 16, flags) == 0 else { return nil }
        let text = host.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        let port = service.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        let mapped = "::ffff:"
        return (text.hasPrefix(mapped) ? String(text.dropFirst(mapped.count)) : text, UInt16(port) ?? 0)
    }

    /// Whether the kernel refuses to bind to a numeric address because no interface has it.
    static func isForeign(_ host: String) -> Bool {
        let answer = try? self.eachAddress(host: host, port: 0, passive: true) { address -> Bool? in
            let descriptor = socket(
                address.pointee.ai_family, address.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            return bind(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) != 0 && errno == EADDRNOTAVAIL
        }
        return answer ?? false
    }
}
