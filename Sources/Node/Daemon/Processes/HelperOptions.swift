/// The words of a process that the daemon or an agent starts: `--option value`, again and again. People do not write them.
struct HelperOptions {
    /// The process, for messages.
    private let role: String
    private let starter: String
    private var values: [String: [String]] = [:]

    /// Takes the words apart. `starter` is who gives them, for messages.
    init(_ words: [String], of role: String, startedBy starter: String, known: [String]) throws(DriverError) {
        self.role = role
        self.starter = starter
        var rest = words[...]
        while let name = rest.popFirst() {
            guard known.contains(name), let value = rest.popFirst() else {
                throw .argument(
                    name: role, value: name, reason: "this is not an option with a value",
                    remedy: "let \(starter) start it, or give \(known.joined(separator: ", "))")
            }
            self.values[name, default: []].append(value)
        }
    }

    /// All values of an option, in order.
    func all(_ name: String) -> [String] { self.values[name] ?? [] }

    /// The last value of an option; nil when it was not given.
    subscript(_ name: String) -> String? { self.values[name]?.last }

    /// The value of an option that must be there.
    func text(_ name: String) throws(DriverError) -> String {
        if let value = self[name] { return value }
        throw .argument(
            name: name, value: "", reason: "it is missing", remedy: "let \(self.starter) start the \(self.role)")
    }

    /// The value of an option that must be there, in the form that `parse` takes.
    func value<Value>(
        _ name: String, _ form: String, remedy: String, _ parse: (String) -> Value?
    ) throws(DriverError) -> Value {
        let text = try self.text(name)
        if let value = parse(text) { return value }
        throw .argument(name: name, value: text, reason: "it is no \(form)", remedy: remedy)
    }

    /// A whole number.
    func number<Number: FixedWidthInteger>(_ name: String) throws(DriverError) -> Number {
        try self.value(name, "number", remedy: "give a whole number") { Number($0) }
    }
}
