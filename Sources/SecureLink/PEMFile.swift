import COpenSSL
import Host

/// Reads and writes the small text files under `tls/`.
public enum PEMFile {
    /// Replaces the file at once and durably; secrets get mode 0600, the rest 0644.
    public static func write(_ text: String, to path: String, isSecret: Bool) throws(SecureLinkError) {
        do throws(Files.ReplacementFailure) {
            try Files.replace(path, with: Array(text.utf8), mode: isSecret ? 0o600 : 0o644, isDurable: true)
        } catch {
            throw .fileNotWritten(path: path, reason: SystemText.error(error.code))
        }
    }

    /// The whole file, at most 1 MiB.
    public static func read(_ path: String) throws(SecureLinkError) -> String {
        let bytesMax = 1 << 20
        switch Files.bytes(path, limit: bytesMax + 1) {
        case .failure(let error):
            throw .unusable(
                what: path, reason: SystemText.error(error.code),
                remedy: "check the path and that the daemon may read it")
        case .success(let bytes):
            if bytes.count <= bytesMax, let text = String(validating: bytes, as: UTF8.self) { return text }
            throw .unusable(
                what: path, reason: "it is not a text file", remedy: "restore it, or join the cluster again")
        }
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

    /// Each certificate of a text, as a text of its own, in their order.
    static func certificates(in text: String) -> [String] {
        let end = "-----END CERTIFICATE-----"
        return text.split(separator: "-----BEGIN CERTIFICATE-----").compactMap { part in
            guard let last = part.firstRange(of: end) else { return nil }
            return "-----BEGIN CERTIFICATE-----" + part[..<last.upperBound] + "\n"
        }
    }

    static func privateKey(_ text: String) -> OpaquePointer? {
        // A key with a passphrase must fail instead of asking on the terminal.
        self.parse(text) { PEM_read_bio_PrivateKey($0, nil, { _, _, _, _ in -1 }, nil) }
    }

    static func request(_ text: String) -> OpaquePointer? {
        self.parse(text) { PEM_read_bio_X509_REQ($0, nil, nil, nil) }
    }
}
