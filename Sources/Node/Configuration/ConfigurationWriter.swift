import Basis
import Resources

/// Writes a policy as `cluster.yaml` in canonical form; reading it again gives the same policy.
public enum ConfigurationWriter {
    /// The document; ends with a line feed.
    public static func render(_ policy: ClusterPolicy) -> String {
        var lines = ["cluster: \(self.scalar(policy.name))"]
        if !policy.leaderSites.isEmpty { lines.append("leaderSites: [\(policy.leaderSites.joined(separator: ", "))]") }
        if policy.timing != .standard { lines += self.timing(policy.timing) }
        if !policy.volumes.isEmpty {
            lines.append("volumes:")
            for volume in policy.volumes { lines += self.volume(volume) }
        }
        if !policy.groups.isEmpty {
            lines.append("groups:")
            for group in policy.groups { lines += self.group(group) }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func timing(_ timing: Timing) -> [String] {
        [
            "timing:",
            "  lease: \(Quantities.text(timing.leaseDuration))",
            "  grace: \(Quantities.text(timing.leaseGrace))",
            "  renewal: \(Quantities.text(timing.renewalInterval))",
            "  detection: \(Quantities.text(timing.detection))",
            "  clockRateErrorPpm: \(timing.clockRateErrorPartsPerMillion)",
            "  guardKill: \(Quantities.text(timing.guardKill))",
            "  daemonRestart: \(Quantities.text(timing.daemonRestart))",
        ]
    }

    private static func volume(_ volume: VolumePolicy) -> [String] {
        var lines = ["  \(volume.name):", "    size: \(Quantities.text(bytes: volume.sizeBytes))"]
        if let rate = volume.resyncBytesPerSecond { lines.append("    resyncRate: \(Quantities.text(bytes: rate))/s") }
        lines.append("    replicas:")
        for replica in volume.replicas {
            let backing = self.flowScalar(replica.backing)
            lines.append("      \(replica.node): { backing: \(backing), address: \(self.quoted(replica.address)) }")
        }
        return lines
    }

    private static func group(_ group: GroupPolicy) -> [String] {
        var lines = [
            "  \(group.name):",
            "    nodes: [\(group.nodes.joined(separator: ", "))]",
            "    takeover: \(group.takeover.rawValue)",
            "    failback: \(group.failback)",
            "    restart: { attempts: \(group.restartAttempts), window: \(Quantities.text(group.restartWindow)) }",
            "    moves: { maximum: \(group.maximumMoves), window: \(Quantities.text(group.moveWindow)) }",
        ]
        if group.undeadWait != GroupPolicy.standardUndeadWait {
            lines.append("    undeadWait: \(Quantities.text(group.undeadWait))")
        }
        lines.append("    resources:")
        for resource in group.resources { lines += self.resource(resource) }
        return lines
    }

    private static func resource(_ resource: ResourcePolicy) -> [String] {
        let prefix = "environment."
        var lines = ["      - name: \(resource.name)", "        agent: \(self.scalar(resource.agent))"]
        let isEnvironment = { (key: String) in resource.kind == .exec && key.hasPrefix(prefix) }
        // Beside `agent` these words mean something else.
        let isHidden = { (key: String) in (ConfigurationKeys.resource + ["parameters"]).contains(key) }
        for parameter in resource.parameters where !isEnvironment(parameter.key) && !isHidden(parameter.key) {
            lines.append("        \(parameter.key): \(self.value(parameter))")
        }
        let hidden = resource.parameters.filter { isHidden($0.key) }
        if !hidden.isEmpty { lines.append("        parameters:") }
        for parameter in hidden { lines.append("          \(parameter.key): \(self.value(parameter))") }
        let environment = resource.parameters.filter { isEnvironment($0.key) }
        if !environment.isEmpty { lines.append("        environment:") }
        for parameter in environment {
            lines.append("          \(parameter.key.dropFirst(prefix.count)): \(self.value(parameter))")
        }
        if resource.isDeclaredKillable || !resource.isKillable {
            lines.append("        killable: \(resource.isDeclaredKillable)")
        }
        return lines + [
            "        startTimeout: \(Quantities.text(resource.startTimeout))",
            "        stopTimeout: \(Quantities.text(resource.stopTimeout))",
            "        checkInterval: \(Quantities.text(resource.monitorInterval))",
            "        checkTimeout: \(Quantities.text(resource.monitorTimeout))",
        ]
    }

    private static func value(_ parameter: ResourcePolicy.Parameter) -> String {
        parameter.isFile ? "{ file: \(self.quoted(parameter.value)) }" : self.scalar(parameter.value)
    }

    /// Plain where every YAML reader takes it for this very text, else in double quotes.
    private static func scalar(_ text: String) -> String {
        let firstAllowed = text.first.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "/" || $0 == "_") }
        let allowed = text.allSatisfy { character in
            character.isASCII && (character.isLetter || character.isNumber || " /_.@%+=-".contains(character))
        }
        let isNull = ["null", "Null", "NULL"].contains(text)
        let plain = firstAllowed == true && allowed && !isNull && text.last != " "
        return plain || self.isAgentName(text) ? text : self.quoted(text)
    }

    /// Colons without a space after them are plain too; only agent names have them often enough to care.
    private static func isAgentName(_ text: String) -> Bool {
        text.hasPrefix("ocf:") && !text.hasSuffix(":")
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ":._-".contains($0)) }
    }

    private static func flowScalar(_ text: String) -> String {
        text.contains(" ") ? self.quoted(text) : self.scalar(text)
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case _ where scalar.value < 32 || (127...160).contains(scalar.value) || scalar.value == 0xFEFF:
                result += "\\u" + scalar.value.hexadecimal(digits: 4)
            case "\u{2028}": result += "\\L"
            case "\u{2029}": result += "\\P"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
