import Glibc

/// What an errno value means, in the system's words.
func systemText(_ code: Int32) -> String { String(cString: strerror(code)) }
