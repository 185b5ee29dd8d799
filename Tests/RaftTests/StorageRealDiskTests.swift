import Basis
import Glibc
import Host
import Raft
import RaftStorage
import Testing

@Suite struct `The log on a real disk` {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/holdfast-log-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        let directory = try #require(made)
        let disk = RealDisk()
        defer {
            for name in (try? disk.list(directory + "/a/log")) ?? [] { unlink("\(directory)/a/log/\(name)") }
            rmdir(directory + "/a/log")
            rmdir(directory + "/a")
            rmdir(directory)
        }
        try body(directory + "/a/log")
    }

    private func open(_ directory: String) throws(StorageError) -> (LogStore, RestoredState) {
        try LogStore.open(
            directory: directory, on: RealDisk(), identity: LogIdentity(cluster: "c-1", node: NodeID(1)),
            draw: StartDraw(directory: DirectoryID(high: 7, low: 7), nonce: 7), segmentBytes: 900)
    }

    @Test func `every sequence of requests is read back as it was`() throws {
        for seed in 1...5 as ClosedRange<UInt64> {
            try self.withDirectory { directory in
                var model = LogModel()
                let requests = LogModel.requests(30, seed: seed)
                for start in stride(from: 0, to: 30, by: 6) {
                    let (store, restored) = try self.open(directory)
                    #expect(model.matches(restored))
                    for request in requests[start..<start + 6] {
                        try store.persist(request)
                        model.apply(request)
                    }
                    store.close()
                }
                #expect(model.matches(try self.open(directory).1))
            }
        }
    }

    @Test func `a second opener is refused until the first one is gone`() throws {
        try self.withDirectory { directory in
            var first: LogStore? = try self.open(directory).0
            #expect(throws: StorageError.locked(directory: directory)) { try self.open(directory) }
            #expect(first?.startCounter == 1)
            first = nil
            #expect(try self.open(directory).0.startCounter == 2)
        }
    }

    @Test func `a lock ends with whoever took it, also while a program that is being started has its file open`() throws
    {
        try self.withDirectory { directory in
            try RealDisk().createDirectory(directory)
            let path = directory + "/lock"
            let lock = try RealDisk().lock(path)
            // What a fork leaves in the child until its exec.
            let inherited = dup(lock.rawValue)
            defer { close(inherited) }
            RealDisk().close(lock)
            let next = try RealDisk().lock(path)
            #expect(throws: DiskError.self) { try RealDisk().lock(path) }
            RealDisk().close(next)
        }
    }

    @Test func `a directory that cannot be made is named with the remedy`() throws {
        #expect(throws: StorageError.self) { try self.open("/proc/holdfast/log") }
        do {
            _ = try self.open("/dev/null/log")
        } catch {
            #expect(error.description.contains("/dev/null"))
            #expect(error.description.contains("--directory"))
        }
    }
}
