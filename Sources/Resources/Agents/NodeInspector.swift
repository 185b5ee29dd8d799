import Basis
import CLinux
import Glibc
import Host
import Resources
import Synchronization

/// Answers questions about this machine. It looks, and changes nothing; each look is bounded in time.
public final class NodeInspector: Sendable {
    /// What an agent said, as long as its file stays the same.
    private struct Known {
        var stamp: [Int]
        var answer: InspectionAnswer
    }

    private static let agentTime = Span.seconds(2)

    private let environment: AgentEnvironment
    private let known = Mutex<[String: Known]>([:])

    /// An inspector of this machine.
    public init(environment: AgentEnvironment) { self.environment = environment }

    /// Answers each question in order; those that there is no time for are `unknown`. Blocks, so call it on a thread of its
    /// own.
    public func answer(_ questions: [InspectionQuestion], within limit: Span) -> [InspectionAnswer] {
        self.environment.threadSetup()
        let deadline = self.environment.clock() + limit
        return questions.map { question in
            guard self.environment.clock() < deadline else { return .unknown("there was no time for it") }
            return self.answer(question, until: deadline)
        }
    }

    /// The names of all OCF agents here: `ocf:PROVIDER:TYPE`, sorted.
    public func agents() -> [String] {
        let root = "\(self.environment.ocfRoot)/resource.d"
        return Files.list(root).filter { !$0.hasPrefix(".") }.flatMap { provider in
            Files.list("\(root)/\(provider)").filter { type in
                !type.hasPrefix(".") && !Files.isDirectory("\(root)/\(provider)/\(type)")
                    && access("\(root)/\(provider)/\(type)", X_OK) == 0
            }.map { "ocf:\(provider):\($0)" }
        }
    }

    private func answer(_ question: InspectionQuestion, until deadline: Tick) -> InspectionAnswer {
        switch question {
        case .agent(let name): return self.agent(name, until: deadline)
        case .user(let name):
            do {
                _ = try UserIdentity(name: name)
                return .yes
            } catch {
                return .no("")
            }
        case .interface(let name): return if_nametoindex(name) > 0 ? .yes : .no("")
        case .filesystem(let type): return self.canMount(type) ? .yes : .no("")
        case .file(let path):
            return access(path, R_OK) == 0 ? .yes : .no(SystemText.error(errno).lowercased())
        }
    }

    private func agent(_ name: String, until deadline: Tick) -> InspectionAnswer {
        guard case .ocf(let provider, let type) = ResourceKind(agent: name) else { return .no("it is no OCF agent") }
        let agent = OCFAgent(provider: provider, type: type)
        let path = "\(self.environment.ocfRoot)/resource.d/\(agent.provider)/\(agent.type)"
        var info = stat()
        guard stat(path, &info) == 0, access(path, X_OK) == 0 else { return .no("there is no \(path)") }
        let stamp = [Int(info.st_ino), info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec]
        if let known = self.known.withLock({ $0[name] }), known.stamp == stamp { return known.answer }
        let answer = self.ask(path, agent, until: min(deadline, self.environment.clock() + Self.agentTime))
        if case .agent = answer {
            self.known.withLock { known in
                if known.count > 500 { known.removeAll() }
                known[name] = Known(stamp: stamp, answer: answer)
            }
        }
        return answer
    }

    private func ask(_ path: String, _ agent: OCFAgent, until deadline: Tick) -> InspectionAnswer {
        var variables = CallContext.toolEnvironment
        variables["OCF_ROOT"] = self.environment.ocfRoot
        variables["OCF_RA_VERSION_MAJOR"] = "1"
        variables["OCF_RA_VERSION_MINOR"] = "1"
        variables["OCF_RESOURCE_INSTANCE"] = "meta-data"
        variables["OCF_RESOURCE_TYPE"] = agent.type
        variables["OCF_RESOURCE_PROVIDER"] = agent.provider
        let request = SpawnRequest(arguments: [path, "meta-data"], environment: variables)
        do {
            var command = try RunningCommand(request)
            let ending = command.collect(until: deadline, cancel: CancelSignal(), clock: self.environment.clock)
            _ = command.close(clock: self.environment.clock)
            guard ending == .finished else { return .unknown("it did not describe itself in time") }
            guard command.result.succeeded, let metadata = AgentMetadata(xml: command.result.output) else {
                return .unknown("it does not describe itself")
            }
            return .agent(metadata)
        } catch {
            return .unknown("\(error)")
        }
    }

    /// The kernel has it, could load it, or a helper mounts it.
    private func canMount(_ type: String) -> Bool {
        guard type.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }) else {
            return false
        }
        let present = Files.text("/proc/filesystems") ?? ""
        if present.split(whereSeparator: \.isWhitespace).contains(Substring(type)) { return true }
        for directory in ["/sbin", "/usr/sbin", "/bin", "/usr/bin", "/usr/local/sbin"] {
            for tool in ["mount", "mkfs", "fsck"] where access("\(directory)/\(tool).\(type)", X_OK) == 0 {
                return true
            }
        }
        var system = utsname()
        guard uname(&system) == 0 else { return true }
        let release = withUnsafeBytes(of: &system.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        // Without a list of modules nobody can say.
        guard case .success(let bytes) = Files.bytes("/lib/modules/\(release)/modules.dep", limit: 16 << 20) else {
            return false
        }
        return String(decoding: bytes, as: UTF8.self).contains("/\(type).ko")
    }
}
