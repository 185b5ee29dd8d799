import COpenSSL

/// Secrets: made by the operating system's generator through OpenSSL, compared without leaking where they differ.
public enum SecureRandom {
    /// `count` unpredictable bytes, for keys and tokens.
    public static func bytes(_ count: Int) throws(SecureLinkError) -> [UInt8] {
        ERR_clear_error()
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, Int32(count)) == 1 else {
            throw .unusable(
                what: "the random generator", reason: takeOpenSSLReasons(), remedy: "check the OpenSSL installation")
        }
        return bytes
    }

    /// SHA-256, 32 bytes: what is kept of a secret that must only be recognised.
    public static func digest(_ bytes: [UInt8]) throws(SecureLinkError) -> [UInt8] {
        ERR_clear_error()
        var digest = [UInt8](repeating: 0, count: 32)
        guard EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha256(), nil) == 1 else {
            throw .unusable(what: "SHA-256", reason: takeOpenSSLReasons(), remedy: "check the OpenSSL installation")
        }
        return digest
    }

    /// Whether two secrets are equal, in a time that depends on their length alone.
    public static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
    }
}
