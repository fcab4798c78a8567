//! How a thing stands: the few words that a status means.

/// The status of a thing that is to be forgotten.
pub const GONE: &str = "gone";

/// A number that is beyond its bounds, or a host that is late.
pub const WARN: &str = "warn";

/// A thing that has failed.
pub const BAD: &str = "bad";

/// A thing that is well.
pub const OK: &str = "ok";

/// The word that `status` means: `bad`, `warn` or `ok` for those that speakers use for them, and any other word itself.
pub fn standing(status: &str) -> &str {
    match status {
        "bad" | "down" | "failed" | "firing" | "error" | "critical" => BAD,
        "warn" | "late" | "waiting" | "degraded" => WARN,
        "ok" | "up" | "passed" | "resolved" | "success" => OK,
        other => other,
    }
}

/// Sorts statuses: the worst first, those that are well last.
pub fn rank(status: &str) -> u8 {
    match standing(status) {
        BAD => 0,
        WARN => 1,
        OK => 3,
        _ => 2,
    }
}
