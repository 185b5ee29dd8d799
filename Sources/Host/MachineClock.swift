import Basis
import CLinux

/// The clocks of this machine.
public enum MachineClock {
    /// The boot clock, which counts suspend: what every decision rests on.
    public static var now: Tick { Tick(nanoseconds: holdfast_boot_clock_nanoseconds()) }
    /// Milliseconds of the wall clock, for people.
    package static var wallMilliseconds: UInt64 { holdfast_wall_clock_milliseconds() }
}
