import Basis
import Glibc

/// What the kernel knows about a connection.
extension TLSStream {
    /// How long the peer has acknowledged nothing although something is on its way; zero when nothing is.
    public var unacknowledged: Span {
        var info = tcp_info()
        var length = socklen_t(MemoryLayout<tcp_info>.size)
        guard getsockopt(self.descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0, info.tcpi_unacked > 0
        else {
            return .zero
        }
        return .milliseconds(UInt64(info.tcpi_last_ack_recv))
    }

    /// Gives the connection up when sent data stays unacknowledged for this long, instead of the default.
    public func limitUnacknowledged(to span: Span) {
        Sockets.set(
            self.descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(clamping: span.milliseconds))
    }
}
