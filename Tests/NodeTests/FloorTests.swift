import Basis
import Foundation
import Glibc
import Host
import ScenarioKit
import Testing

/// What every shell stands on.
struct FloorTests {
    @Test func `who holds a value keeps others from it, and lets them in while it waits`() {
        let value = Locked([1])
        var hold = value.hold()
        hold.value.append(2)
        SystemThread.start("other") { value.change { $0.append(3) } }
        while hold.value.count < 3 { hold.wait() }
        #expect(hold.value == [1, 2, 3])
        hold.leave()
        #expect(value.withLock { $0.count } == 3)
    }

    @Test func `what is done while a lock is left is done without it`() {
        let value = Locked(1)
        var hold = value.hold()
        let seen = hold.whileLeft { value.withLock { $0 } }
        hold.value = seen + 1
        hold.leave()
        #expect(value.withLock { $0 } == 2)
    }

    @Test func `a file is replaced as a whole, with the rights that were asked for, or stays as it was`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/file"
        for isDurable in [false, true] {
            try Files.replace(path, with: Array("new".utf8), mode: 0o644, isDurable: isDurable)
            #expect(Files.text(path) == "new")
            var info = stat()
            #expect(stat(path, &info) == 0 && info.st_mode & 0o777 == 0o644)
            #expect(Files.list(scratch.path) == ["file"])
        }
        // A directory that is not empty cannot be replaced.
        let other = scratch.path + "/directory"
        #expect(Files.makeDirectory(other + "/full", mode: 0o755) == nil)
        #expect(throws: Files.ReplacementFailure.self) {
            try Files.replace(other, with: [1], mode: 0o600, isDurable: true)
        }
        #expect(Files.list(scratch.path) == ["directory", "file"])
    }

    @Test func `frames arrive as they were sent, and none that is too long`() throws {
        let scratch = try ScratchDirectory()
        let address = try UnixAddress(scratch.path + "/socket")
        let listener = try address.listen(backlog: 1)
        defer { close(listener) }
        let client = try address.connect()
        defer { close(client) }
        let server = Locked(Int32(-1))
        SystemSocket.acceptEach(listener) { descriptor, code in
            server.withLock { $0 = descriptor }
            return code == 0
        }
        let receiver = server.withLock { $0 }
        defer { close(receiver) }
        for length in [0, 1, 300] {
            var frame = ByteWriter()
            frame.data([UInt8](repeating: 7, count: length))
            #expect(SystemSocket.send(frame.bytes, to: client) == 0)
        }
        #expect(SystemSocket.receiveFrame(from: receiver, limit: 300) == [])
        #expect(SystemSocket.receiveFrame(from: receiver, limit: 300) == [7])
        #expect(SystemSocket.receiveFrame(from: receiver, limit: 299) == nil)
    }

    @Test func `a socket's path that does not fit is refused before anything is made`() {
        #expect(throws: Errno(ENAMETOOLONG)) { try UnixAddress("/" + String(repeating: "a", count: 107)) }
        #expect(throws: Never.self) { try UnixAddress("/" + String(repeating: "a", count: 106)) }
        #expect(throws: Errno(EINVAL)) { try UnixAddress("") }
        #expect(throws: Errno(EINVAL)) { try UnixAddress("/a\0b") }
    }

    @Test func `a process that cannot be started says at what it failed, and one that ended how`() throws {
        do throws(ProcessStart.Failure) {
            _ = try ProcessStart(["/no/such"]).start()
            Issue.record("it was started")
        } catch {
            #expect(error.stage == "executing it" && error.code == ENOENT)
        }
        let (_, descriptor) = try ProcessStart(["/bin/sh", "-c", "exit 3"]).start()
        defer { close(descriptor) }
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&request, 1, 60_000) == 1)
        #expect(ProcessEnd.of(descriptor) == .exited(3))
    }

    @Test func `a lease in doubt is usable by nobody until a renewal that was sent after it is answered (rule L20)`()
        throws
    {
        let scratch = try ScratchDirectory()
        let page = try LeasePage(path: scratch.path + "/lease")
        let other = try LeasePage(path: scratch.path + "/lease")
        page.publish(
            end: Tick(nanoseconds: 900), Incarnation(4), grace: Span(nanoseconds: 50), sentAt: Tick(nanoseconds: 100))
        #expect(other.usableEnd == Tick(nanoseconds: 900) && other.isUsable(at: Tick(nanoseconds: 899)))
        #expect(!other.isUsable(at: Tick(nanoseconds: 900)))
        other.partedAt = Tick(nanoseconds: 200)
        #expect(page.isInDoubt && page.usableEnd == .zero && !page.isUsable(at: .zero))
        page.publish(
            end: Tick(nanoseconds: 950), Incarnation(4), grace: Span(nanoseconds: 50), sentAt: Tick(nanoseconds: 200))
        #expect(other.isInDoubt)
        page.publish(
            end: Tick(nanoseconds: 950), Incarnation(4), grace: Span(nanoseconds: 50), sentAt: Tick(nanoseconds: 201))
        #expect(!other.isInDoubt && other.usableEnd == Tick(nanoseconds: 950))
        #expect(other.grace == Span(nanoseconds: 50) && other.incarnation == Incarnation(4))
    }
}
