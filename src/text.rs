//! Words for people.

use std::fmt::Write;
use std::time::Duration;

/// Client input, made safe to show: control characters escaped, and no longer than a name may be.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(crate::names::NAME_LIMIT).collect();
    format!("\"{}\"{}", cut.escape_debug(), if cut.len() < text.len() { "..." } else { "" })
}

/// A duration as one says it, to the second below an hour: `45 s`, `2 min 3 s`, `3 h 5 min`, `4 d 2 h`.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0..120 => return format!("{seconds} s"),
        120..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    let mut text = format!("{} {}", large.0, large.1);
    if small.0 > 0 {
        let _ = write!(text, " {} {}", small.0, small.1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_one_says_them() {
        let check = |seconds: u64, text: &str| assert_eq!(spoken(Duration::from_secs(seconds)), text);
        check(0, "0 s");
        check(90, "90 s");
        check(120, "2 min");
        check(123, "2 min 3 s");
        check(3600, "1 h");
        check(11_100, "3 h 5 min");
        check(86_399, "23 h 59 min");
        check(352_800, "4 d 2 h");
    }
}
