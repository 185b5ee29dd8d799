/// Why a request failed; each code has its own exit code of the command line.
public enum FailureCode: String, Codable, Sendable, CaseIterable {
    /// Anything that no other code names.
    case error
    /// The request makes no sense.
    case usage
    /// A name is not known.
    case notFound
    /// Something changed since the caller looked.
    case conflict
    /// No majority of voters answers.
    case noQuorum
    /// A safety rule forbids it; the message names the rule.
    case refused
    /// It did not happen in time; it may still happen.
    case timeout
    /// `status --check`: services run, but something is missing.
    case degraded
    /// `status --check`: at least one group that should run does not.
    case down
    /// The caller may not do this.
    case permission

    /// The exit code of the command line, from 1 to 10.
    public var exitCode: Int32 {
        switch self {
        case .error: 1
        case .usage: 2
        case .notFound: 3
        case .conflict: 4
        case .noQuorum: 5
        case .refused: 6
        case .timeout: 7
        case .degraded: 8
        case .down: 9
        case .permission: 10
        }
    }

    /// The HTTP status of the API.
    public var httpStatus: Int {
        switch self {
        case .error: 500
        case .usage: 400
        case .notFound: 404
        case .conflict: 409
        case .noQuorum: 503
        case .refused: 422
        case .timeout: 504
        case .degraded, .down: 500
        case .permission: 403
        }
    }
}

/// The body of every answer that is not a success.
public struct ErrorReport: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// What kind of failure it is.
    public var code: FailureCode
    /// What happened, and where.
    public var message: String
    /// What to do next.
    public var remedy: String
    /// More lines, such as every mistake in a configuration.
    public var details: [String]
    /// Where a change of an attribute was refused because it is not what was expected: what it is; nil when there is none.
    public var present: AttributeReport?
    /// All fields.
    public init(
        code: FailureCode, message: String, remedy: String, details: [String] = [], present: AttributeReport? = nil,
        apiVersion: Int = 1
    ) {
        self.apiVersion = apiVersion
        self.present = present
        self.code = code
        self.message = message
        self.remedy = remedy
        self.details = details
    }
}

/// A request that failed: what a backend throws, what the server sends, and what the client throws again.
public struct APIFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public var code: FailureCode
    /// What happened, and where.
    public var message: String
    /// What to do next.
    public var remedy: String
    /// More lines, such as every mistake in a configuration.
    public var details: [String]
    /// What an attribute is that was expected to be something else.
    public var present: AttributeReport?
    /// All fields.
    public init(
        _ code: FailureCode, _ message: String, remedy: String, details: [String] = [], present: AttributeReport? = nil
    ) {
        self.present = present
        self.code = code
        self.message = message
        self.remedy = remedy
        self.details = details
    }
    /// A failure that came over the wire.
    public init(_ report: ErrorReport) {
        self.init(
            report.code, report.message, remedy: report.remedy, details: report.details, present: report.present)
    }
    /// The form that goes over the wire.
    public var report: ErrorReport {
        ErrorReport(
            code: self.code, message: self.message, remedy: self.remedy, details: self.details, present: self.present)
    }
    /// The details, the message, then the remedy.
    public var description: String {
        (self.details + [self.message, self.remedy]).filter { !$0.isEmpty }.joined(separator: "\n")
    }
}
