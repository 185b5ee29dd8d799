import FoundationEssentials

/// JSON as the API speaks it: keys sorted, absent values left out.
public enum APICoding {
    /// The JSON text of a value.
    public static func encode(_ value: some Encodable, pretty: Bool = false) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    /// The version that an answer says it has; 1 where it says none.
    static func version(of data: Data) -> UInt32 {
        struct Form: Decodable { var apiVersion: UInt32? }
        return (try? JSONDecoder().decode(Form.self, from: data))?.apiVersion ?? 1
    }

    /// The value of a JSON text; an empty text counts as `{}`.
    public static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        try JSONDecoder().decode(type, from: data.isEmpty ? Data("{}".utf8) : data)
    }
}
