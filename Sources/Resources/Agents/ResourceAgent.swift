import Basis
import Resources

/// The code that starts, stops and checks one kind of resource. Calls block; each runs on a thread of its own.
protocol ResourceAgent: Sendable {
    /// Brings it up, from any state that an interrupted earlier call may have left.
    func start(_ context: CallContext) throws(CallInterruption) -> AgentOutcome
    /// Takes it down; success means that nothing of it is left.
    func stop(_ context: CallContext) throws(CallInterruption) -> AgentOutcome
    /// Checks that it works.
    func monitor(_ context: CallContext) throws(CallInterruption) -> AgentOutcome
    /// Finds out whether it runs, and changes nothing.
    func probe(_ context: CallContext) throws(CallInterruption) -> AgentOutcome
}

extension ResourceAgent {
    func run(_ context: CallContext) -> AgentOutcome {
        do {
            switch context.call.action {
            case .start: return try self.start(context)
            case .stop: return try self.stop(context)
            case .monitor: return try self.monitor(context)
            case .probe: return try self.probe(context)
            }
        } catch {
            switch error {
            case .timedOut: return .timedOut
            case .cancelled: return .failed(reason: "cancelled before it ended", recovery: .soft)
            case .failed(let reason, let recovery): return .failed(reason: reason, recovery: recovery)
            }
        }
    }
}

/// An agent name that nothing implements.
struct UnknownAgent: ResourceAgent {
    let name: String

    private var outcome: AgentOutcome {
        .failed(
            reason: "there is no agent \(self.name): use exec, address, filesystem, volume or ocf:PROVIDER:TYPE",
            recovery: .fatal)
    }
    func start(_ context: CallContext) -> AgentOutcome { self.outcome }
    func stop(_ context: CallContext) -> AgentOutcome { .success }
    func monitor(_ context: CallContext) -> AgentOutcome { self.outcome }
    func probe(_ context: CallContext) -> AgentOutcome { .notRunning }
}

extension AgentOutcome {
    /// A reason bounds its own quotations; this bounds the whole of it, whatever it quotes.
    private static let reasonMaximum = 600

    /// The same with a reason that can be shown and stored anywhere.
    var asOneLine: AgentOutcome {
        switch self {
        case .degraded(let reason): .degraded(reason: ForeignText.line(reason, limit: Self.reasonMaximum))
        case .failed(let reason, let recovery):
            .failed(reason: ForeignText.line(reason, limit: Self.reasonMaximum), recovery: recovery)
        case .success, .notRunning, .timedOut: self
        }
    }
}
