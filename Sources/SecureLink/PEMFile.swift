import COpenSSL
import Glibc
import Host

/// Reads and writes the small text files under `tls/`.
public enum PEMFile {
    /// Replaces the file at once and durably; secrets get mode 0600, the rest 0644.
    public static func write(_ text: String, to path: String, isSecret: Bool) throws(SecureLinkError) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, isSecret ? 0o600 : 0o644)
        guard descriptor >= 0 else { throw .fileNotWritten(path: path, reason: SystemText.error(errno)) }
        var failure: Int32 = 0
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count, failure == 0 {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done)
            }
            if count >= 0 { done += count } else if errno != EINTR { failure = errno }
        }
        if failure == 0, fchmod(descriptor, isSecret ? 0o600 : 0o644) != 0 || fsync(descriptor) != 0 { failure = errno }
        close(descriptor)
        if failure == 0, rename(temporary, path) != 0 { failure = errno }
        if failure == 0 { failure = self.syncDirectory(of: path) }
        if failure != 0 {
            unlink(temporary)
            throw .fileNotWritten(path: path, reason: SystemText.error(failure))
        }
    }

    /// The whole file, at most 1 MiB.
    public static func read(_ path: String) throws(SecureLinkError) -> String {
        let remedy = "check the path and that the daemon may read it"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unusable(what: path, reason: SystemText.error(errno), remedy: remedy) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while bytes.count <= 1 << 20 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 {
                guard let text = String(validating: bytes, as: UTF8.self) else { break }
                return text
            }
            if count > 0 {
                bytes += chunk[..<count]
            } else if errno != EINTR {
                throw .unusable(what: path, reason: SystemText.error(errno), remedy: remedy)
            }
        }
        throw .unusable(what: path, reason: "it is not a text file", remedy: "restore it, or join the cluster again")
    }

    private static func syncDirectory(of path: String) -> Int32 {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        return fsync(descriptor) == 0 ? 0 : errno
    }
}

/// PEM text to and from OpenSSL objects.
enum PEM {
    /// Collects what `write` puts into a memory BIO; nil if it reports failure.
    static func text(_ write: (OpaquePointer) -> Int32) -> String? {
        guard let bio = BIO_new(BIO_s_mem()) else { return nil }
        defer { BIO_free(bio) }
        guard write(bio) == 1 else { return nil }
        var data: UnsafeMutablePointer<CChar>?
        let count = holdfast_BIO_get_mem_data(bio, &data)
        guard let data, count > 0 else { return nil }
        return String(decoding: UnsafeRawBufferPointer(start: data, count: count), as: UTF8.self)
    }

    /// Hands the text to `read` in a memory BIO.
    static func parse(_ text: String, _ read: (OpaquePointer) -> OpaquePointer?) -> OpaquePointer? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { buffer in
            guard let bio = BIO_new_mem_buf(buffer.baseAddress, Int32(buffer.count)) else { return nil }
            defer { BIO_free(bio) }
            return read(bio)
        }
    }

    static func certificate(_ text: String) -> OpaquePointer? {
        self.parse(text) { PEM_read_bio_X509($0, nil, nil, nil) }
    }

    static func privateKey(_ text: String) -> OpaquePointer? {
        // A key with a passphrase must fail instead of asking on the terminal.
        self.parse(text) { PEM_read_bio_PrivateKey($0, nil, { _, _, _, _ in -1 }, nil) }
    }

    static func request(_ text: String) -> OpaquePointer? {
        self.parse(text) { PEM_read_bio_X509_REQ($0, nil, nil, nil) }
    }
}
