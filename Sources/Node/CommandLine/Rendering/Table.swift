import Basis
import Glibc

extension Amounts {
    /// `2026-11-22 15:04:05.123 UTC`.
    static func instant(milliseconds: UInt64) -> String {
        var seconds = time_t(truncatingIfNeeded: milliseconds / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func padded(_ number: Int, _ width: Int = 2) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let date = "\(Int(parts.tm_year) + 1900)-\(padded(Int(parts.tm_mon) + 1))-\(padded(Int(parts.tm_mday)))"
        let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0)) }.joined(separator: ":")
        return "\(date) \(time).\(padded(Int(milliseconds % 1000), 3)) UTC"
    }
}

/// Columns of text, each as wide as its widest cell.
struct Table {
    struct Cell {
        var text: String
        var tone: Style.Tone = .plain
    }
    private let header: [String]
    private var rows: [[Cell]] = []

    init(_ header: [String]) { self.header = header }

    mutating func add(_ cells: [Cell]) { self.rows.append(cells) }

    /// The lines; empty columns are left out. Where the style has a width, a longer line is cut, and ends with `…`.
    func lines(style: Style, indent: String = "") -> [String] {
        let used = self.header.indices.filter { column in
            column == 0 || self.rows.contains { $0.indices.contains(column) && !$0[column].text.isEmpty }
        }
        let widths = used.map { column in
            self.rows.map { $0.indices.contains(column) ? $0[column].text.count : 0 }.reduce(
                self.header[column].count, max)
        }
        func line(_ cells: [Cell]) -> String {
            var result = indent
            var left = (style.width ?? Int.max) - indent.count
            for (position, column) in used.enumerated() {
                let cell = cells.indices.contains(column) ? cells[column] : Cell(text: "")
                let isLast = !used[(position + 1)...].contains { cells.indices.contains($0) && !cells[$0].text.isEmpty }
                if cell.text.count > left || !isLast && cell.text.count == left {
                    return result + style.paint(String(cell.text.prefix(max(0, left - 1))) + "…", cell.tone)
                }
                result += style.paint(cell.text, cell.tone)
                if isLast { break }
                let gap = widths[position] - cell.text.count + 2
                guard left > cell.text.count + gap else { return result + (left > cell.text.count + 1 ? " …" : "…") }
                result += String(repeating: " ", count: gap)
                left -= cell.text.count + gap
            }
            return result
        }
        return [line(self.header.map { Cell(text: $0, tone: .quiet) })] + self.rows.map(line)
    }
}

/// A bar that shows how far something is.
enum ProgressBar {
    /// `[#########...........]  45 %  450 MB of 1.0 GB, 12 s left`.
    static func text(label: String, done: UInt64, total: UInt64, bytesPerSecond: Double?, width: Int = 30) -> String {
        let share = total == 0 ? 1 : min(1, Double(done) / Double(total))
        let filled = Int(share * Double(width))
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        var text = "\(label) [\(bar)] \(Int(share * 100)) %  \(Amounts.bytes(done)) of \(Amounts.bytes(total))"
        if let bytesPerSecond, bytesPerSecond > 0, total > done {
            text +=
                ", \(Amounts.bytes(UInt64(bytesPerSecond)))/s, \(Amounts.age(Double(total - done) / bytesPerSecond)) left"
        }
        return text
    }
}
