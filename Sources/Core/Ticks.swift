/// The 90 kHz media clock and microseconds, to the nearest; saturates, since ticks come from cameras and files.
public enum Ticks {
    public static func microseconds(_ ticks: Int64) -> Int64 {
        let (seconds, rest) = ticks.quotientAndRemainder(dividingBy: 90_000)
        let whole = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !whole.overflow else { return ticks < 0 ? .min : .max }
        return whole.partialValue.addingSaturating((rest * 100 + (rest < 0 ? -4 : 4)) / 9)
    }

    public static func ticks(microseconds: Int64) -> Int64 {
        let (seconds, rest) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        let whole = seconds.multipliedReportingOverflow(by: 90_000)
        guard !whole.overflow else { return microseconds < 0 ? .min : .max }
        return whole.partialValue.addingSaturating((rest * 9 + (rest < 0 ? -50 : 50)) / 100)
    }
}
