public struct Message: Equatable, Sendable {}
