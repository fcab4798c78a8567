//! The time. The machine's clock may be wrong, and be set right while we run: a Raspberry Pi has none of its own and
//! begins in 1970, or at the time it was switched off, until the network tells. So the clock is read once, and counted
//! on from there by the time since boot, which nobody sets and which goes on while the machine sleeps ([`now_micros`]).
//! Ids and times of messages go by that, so they never jump.
//!
//! Other times are compared with other machines' clocks, or read by people. They go by the machine's clock
//! ([`machine_micros`]). Every time can be written: one before 1970 reads as 1970, one after the year 9999 as its last
//! second.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::ClockId;

/// The last moment that RFC 3339 and HTTP can write, in microseconds since 1970.
const LAST: u64 = 253_402_300_799_999_999;

/// Microseconds since 1970, UTC: the machine's clock at the start, plus the time that has passed since.
pub fn now_micros() -> u64 {
    #[cfg(test)]
    if let Some(now) = SET.get() {
        return now;
    }
    static START: LazyLock<(u64, Duration)> = LazyLock::new(|| (machine_micros(), since_boot()));
    let (wall, boot) = *START;
    let passed = since_boot().saturating_sub(boot).as_micros() as u64;
    wall.saturating_add(passed).min(LAST)
}

/// The time since boot, the machine's sleep included; on a kernel before 2.6.39, the time that it was awake. (Not by
/// rustix, which finds the call by itself, and fails where a process runs under valgrind.)
fn since_boot() -> Duration {
    let time = ClockId::CLOCK_BOOTTIME.now().or_else(|_| ClockId::CLOCK_MONOTONIC.now());
    time.map_or(Duration::ZERO, Duration::from)
}

/// Microseconds since 1970, UTC, by the machine's clock.
pub fn machine_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros).min(LAST)
}

/// The point in time `micros` microseconds after 1970, or the last one that can be written.
pub fn time_of(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.min(LAST))
}

/// `micros` microseconds after 1970 as people and programs write it (RFC 3339, UTC), to the microsecond.
pub fn rfc3339(micros: u64) -> String {
    humantime::format_rfc3339_micros(time_of(micros)).to_string()
}

/// A length of time in microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
thread_local! {
    static SET: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// Sets the clock of this thread to `micros`; `None` sets it back to the real time.
#[cfg(test)]
pub fn set(micros: Option<u64>) {
    SET.set(micros);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_clock_says_can_be_written() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (LAST, "9999-12-31T23:59:59.999999Z"),
            (LAST + 1, "9999-12-31T23:59:59.999999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(micros), expected);
            httpdate::fmt_http_date(time_of(micros)); // panics outside of these years
        }
    }

    #[test]
    fn it_goes_on_by_the_time_since_boot() {
        let (begun, before) = (since_boot(), now_micros());
        std::thread::sleep(Duration::from_millis(5));
        assert!(now_micros() >= before + 5_000);
        assert!(now_micros() - before <= micros(since_boot() - begun) + 1, "rounding");
    }
}
