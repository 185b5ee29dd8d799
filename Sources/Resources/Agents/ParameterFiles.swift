import Basis
import Host
import Resources

/// Parameters whose value stands in a file of the node: read for one call, and for the agent alone.
enum ParameterFiles {
    /// A file that cannot be read, or holds no text.
    struct Missing: Error {
        /// For the outcome: it names the file, never what is in it.
        var reason: String
        /// The call without what could not be read.
        var without: AgentCall
    }

    /// More is no parameter, in bytes.
    private static let limit = 64 * 1024

    /// The call with what is in the files in place of their paths. One line end at the end of a file does not count.
    static func resolved(_ call: AgentCall) -> Result<AgentCall, Missing> {
        guard call.resource.parameters.contains(where: \.isFile) else { return .success(call) }
        var told = call
        var reasons: [String] = []
        told.resource.parameters = call.resource.parameters.compactMap { parameter in
            guard parameter.isFile else { return parameter }
            switch Files.bytes(parameter.value, limit: self.limit + 1) {
            case .success(var bytes):
                if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
                if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
                guard bytes.count <= self.limit, !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self)
                else {
                    reasons.append("\(parameter.value), which `\(parameter.key)` needs, holds no text that can be told")
                    return nil
                }
                return ResourcePolicy.Parameter(parameter.key, text)
            case .failure(let error):
                let why = SystemText.error(error.code)
                reasons.append("\(parameter.value), which `\(parameter.key)` needs, cannot be read: \(why)")
                return nil
            }
        }
        guard let reason = reasons.first else { return .success(told) }
        return .failure(Missing(reason: reason, without: told))
    }
}
