import Foundation

private func size(_ bytes: Int) -> String { Quantity.text(bytes: bytes) }

/// What the commands print without `--json`: a line for each thing to know.
extension RetentionCommands.Applied {
    package var text: String {
        var lines = deletions.prefix(20).map { "  \($0.start)  \($0.camera)  \(size($0.bytes))  \($0.cause)" }
        if deletions.count > 20 { lines.append("  … and \(deletions.count - 20) more") }
        let verb = dryRun ? "would be deleted" : "deleted"
        lines.insert("\(deletions.count) clip(s), \(size(freedBytes)) \(verb).", at: 0)
        if !timeTrusted {
            lines.append(
                "Nobody vouches for the clock: nothing goes by age or budget. See `sudocam retention confirm-time`.")
        }
        for unmet in unmet {
            lines.append(
                "Not met: \(unmet.cause)\(unmet.camera.map { " of \($0)" } ?? "") lacks \(size(unmet.bytes)); holds, leases or `minimum` keep the rest."
            )
        }
        return lines.joined(separator: "\n")
    }
}

extension RetentionCommands.Plan {
    package var text: String {
        var lines = rules.enumerated().map { "Rule \($0 + 1): \($1)" }
        let budgets =
            (budgetBytes.map { ["\(size($0)) for all cameras together"] } ?? [])
            + (eachCameraBytes.map { ["\(size($0)) for each camera without its own"] } ?? [])
        if lines.isEmpty {
            let hasBudget = !budgets.isEmpty || cameras.contains { $0.budgetBytes != nil }
            lines.append(
                hasBudget
                    ? "No rules: nothing goes by its age, the oldest when a budget is used up or the disk is full."
                    : "No rules: everything is kept until the disk is full; then the oldest goes.")
        }
        if !budgets.isEmpty { lines.append("Budget: \(budgets.joined(separator: ", "))") }
        for camera in cameras {
            let reach = camera.reachDays.map {
                ", reaches back \($0.formatted(.number.precision(.fractionLength(1)))) days (\(camera.limitedBy ?? "-"))"
            }
            lines.append(
                "\(camera.camera): \(camera.clips) clips, \(size(camera.bytes))\(camera.budgetBytes.map { " of \(size($0))" } ?? ""), \(size(camera.bytesPerDay)) a day\(reach ?? "")"
            )
            if camera.doubtfulBytes > 0 {
                lines.append("  \(size(camera.doubtfulBytes)) of it at a time nobody vouches for")
            }
        }
        lines.append(
            "Disk: \(size(freeBytes)) of \(size(totalBytes)) free, full below \(size(keepFreeBytes))"
                + (diskFull.map { "; full on \($0) if nothing went" } ?? ""))
        if holds > 0 { lines.append("\(holds) hold(s)") }
        lines.append("Next pass: " + next.text)
        return lines.joined(separator: "\n")
    }
}

extension RetentionCommands.Explained {
    package var text: String {
        var lines = ["\(camera)  \(start) to \(end)  \(kind)  \(object)", verdict]
        if let minimumUntil { lines.append("No budget touches it before \(minimumUntil).") }
        for budget in budgets {
            lines.append(
                "\(budget.cause): its turn after \(size(budget.bytesUntilItsTurn)) more"
                    + (budget.expected.map { ", about \($0)" } ?? ""))
        }
        return (lines + changes).joined(separator: "\n  ")
    }
}
