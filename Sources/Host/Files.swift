import Basis
import Glibc

/// Small files, read and written whole.
package enum Files {
    /// The bytes of a file, at most `limit`, or the error.
    package static func bytes(_ path: String, limit: Int = 1 << 20) -> Result<[UInt8], Errno> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(Errno(errno)) }
        defer { close(descriptor) }
        return self.bytes(from: descriptor, limit: limit)
    }

    /// The bytes that are left in a descriptor, at most `limit`, or the error.
    package static func bytes(from descriptor: Int32, limit: Int = 1 << 20) -> Result<[UInt8], Errno> {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while result.count < limit {
            let count = read(descriptor, &buffer, min(buffer.count, limit - result.count))
            if count < 0, errno == EINTR { continue }
            if count < 0 { return .failure(Errno(errno)) }
            if count == 0 { break }
            result.append(contentsOf: buffer[..<count])
        }
        return .success(result)
    }

    /// The text of a file; nil when it cannot be read.
    package static func text(_ path: String) -> String? {
        guard case .success(let bytes) = self.bytes(path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes into an existing file, as kernel interfaces want it; 0 or the error.
    package static func poke(_ path: String, _ text: String) -> Int32 {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count ? 0 : errno
    }

    /// Makes a directory and what is missing above it; one that is there stays as it is. The error's number, or nil.
    package static func makeDirectory(_ path: String, mode: mode_t) -> Int32? {
        if path.isEmpty || mkdir(path, mode) == 0 || errno == EEXIST { return nil }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/") else { return errno }
        if let code = self.makeDirectory(String(path[..<slash]), mode: mode) { return code }
        return mkdir(path, mode) == 0 || errno == EEXIST ? nil : errno
    }

    /// The names in a directory that begin so, sorted, without `.` and `..`; empty when it cannot be read.
    package static func list(_ path: String, beginning: String = "") -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != "..", beginning.isEmpty || name.hasPrefix(beginning) { names.append(name) }
        }
        return names.sorted()
    }

    /// What a symbolic link says; nil when it is none.
    package static func link(_ path: String) -> String? {
        var target = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &target, target.count)
        return count < 0 ? nil : String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The path without any symbolic link; nil when it leads nowhere.
    package static func resolved(_ path: String) -> String? {
        guard let text = realpath(path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    package static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// A name that is safe as one path component: all but letters, digits, `.`, `_`, `-`, `+` and `@` becomes %XX.
    package static func component(_ name: String) -> String {
        var result = ""
        for (position, byte) in name.utf8.enumerated() {
            let plain =
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || byte == 0x5F || byte == 0x2D || byte == 0x2B || byte == 0x40 || (byte == 0x2E && position > 0)
            if plain {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                result += "%" + byte.hexadecimal(digits: 2, uppercase: true)
            }
        }
        return result
    }

    /// What a name of `component` stood for; the text itself where it is none.
    package static func named(_ fileName: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(fileName.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), rest.count >= 2 else {
                return fileName
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self) ?? fileName
    }
}

/// A number from `errno`.
package struct Errno: Error, Equatable {
    package let code: Int32
    package init(_ code: Int32) { self.code = code }
}
