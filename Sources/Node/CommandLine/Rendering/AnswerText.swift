import Basis
import Reports

/// Plans, results, events and explanations as text.
enum AnswerText {
    static func plan(_ report: PlanReport, style: Style) -> String {
        var lines = self.changes(report.changes)
        if report.actions.isEmpty {
            lines.append("Nothing to do.")
        } else {
            lines.append("The cluster would do this:")
            lines += self.actions(report.actions, style: style)
        }
        lines += self.impact(report.interruptions, report.removals, style: style)
        lines += report.warnings.map { style.paint("Warning:", .warning) + " " + $0 }
        lines.append(
            "Based on configuration index \(report.basedOnIndex): `holdfast apply FILE --index \(report.basedOnIndex)`."
        )
        return lines.joined(separator: "\n") + "\n"
    }

    static func result(_ result: MutationResult, style: Style) -> String {
        var lines = self.changes(result.changes)
        if let facts = result.facts, !facts.isEmpty { lines += ["What is known:"] + facts.map { "  \($0)" } }
        lines += self.impact(result.interruptions, result.removals, isAsked: true, style: style)
        lines += result.warnings.flatMap { style.wrapped(style.paint("Warning:", .warning) + " " + $0) }
        let suffix =
            result.accepted ? (result.index > 0 ? " (entry \(result.index))" : "") : " (dry run: nothing was changed)"
        lines.append(self.sentence(result.sentence) + suffix + ".")
        if let survival = result.survival { lines += style.wrapped("Votes: \(survival.sentence).") }
        if let statement = result.statement { lines.append("To sign for it: --statement \"\(statement)\"") }
        if !result.actions.isEmpty {
            lines.append(result.accepted ? "This follows:" : "This would follow:")
            lines += self.actions(result.actions, style: style)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// What goes down and what vanishes; nothing if neither does.
    static func impact(
        _ interruptions: [PlanReport.Interruption], _ removals: [String], isAsked: Bool = false, style: Style
    ) -> [String] {
        var lines: [String] = []
        if !interruptions.isEmpty { lines.append("What goes down:") }
        lines += interruptions.map { "  \(style.paint($0.sentence, .warning))" }
        let condition = isAsked ? "" : " (`apply` wants --allow-removal for it)"
        if !removals.isEmpty { lines.append("What is removed\(condition):") }
        return lines + removals.map { "  \(style.paint($0, .bad))" }
    }

    /// What an operator is asked before a configuration is put into force.
    static func question(_ report: PlanReport, style: Style) -> String {
        let none = report.interruptions.isEmpty ? ["Nothing that runs is stopped."] : []
        return (self.changes(report.changes) + self.impact(report.interruptions, report.removals, style: style) + none)
            .joined(separator: "\n")
    }

    static func event(_ event: EventReport) -> String {
        "\(event.index)  \(Amounts.instant(milliseconds: event.wallClockMilliseconds))  \(event.sentence) (\(event.rule))\n"
    }

    static func explain(_ report: ExplainReport, style: Style) -> String {
        var lines = style.wrapped(self.sentence(report.sentence) + ".")
        lines += report.reasons.flatMap { style.wrapped("because \($0)", indent: "  ") }
        if let recovery = report.recovery { lines += style.wrapped(recovery, indent: "  ") }
        if !report.candidates.isEmpty {
            var table = Table(["NODE", "COULD RUN IT", "REASON"])
            for candidate in report.candidates {
                table.add([
                    .init(text: candidate.node),
                    .init(text: candidate.eligible ? "yes" : "no", tone: candidate.eligible ? .good : .bad),
                    .init(text: candidate.reason),
                ])
            }
            lines += [""] + table.lines(style: style)
        }
        if !report.events.isEmpty {
            lines += ["", "What happened last:"]
            lines += report.events.map { "  " + String(self.event($0).dropLast()) }
        }
        if let next = report.nextStep { lines += ["", "Next: \(next)"] }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func changes(_ changes: [String]) -> [String] {
        changes.isEmpty ? [] : ["The configuration changes:"] + changes.map { "  \($0)" }
    }

    private static func actions(_ actions: [PlanReport.Action], style: Style) -> [String] {
        actions.enumerated().map { offset, action in
            let wait = action.waitsFor.map { ", after \($0)" } ?? ""
            return "  \(offset + 1). \(action.sentence)\(wait) " + style.paint("(\(action.reason))", .quiet)
        }
    }

    /// Without a full stop. It keeps its first letter: that may belong to a name.
    private static func sentence(_ text: String) -> String { text.hasSuffix(".") ? String(text.dropLast()) : text }
}
