import Testing

@testable import Basis

struct HostPortTests {
    @Test(arguments: ["10.0.0.1:7400", "[fd00::1]:7400", "db.example:1", "h:65535"])
    func `a host and a port are written as they are read`(text: String) {
        #expect(HostPort(text)?.text == text)
    }

    @Test(arguments: ["", ":1", "h", "h:", "h:0", "h:65536", "h:+80", "h:-1", "h:8o", "fd00::1:7400", "[]:1", "a b:1"])
    func `what is no host and port is refused`(text: String) { #expect(HostPort(text) == nil) }

    @Test func `hexadecimal digits come with zeroes before them`() {
        #expect(UInt8(7).hexadecimal(digits: 2) == "07")
        #expect(UInt64(0xABC).hexadecimal(digits: 16) == "0000000000000abc")
        #expect(UInt32(0x12345).hexadecimal(digits: 4) == "12345")
        #expect(UInt8(0xAF).hexadecimal(digits: 2, uppercase: true) == "AF")
    }
}
