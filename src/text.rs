//! Words for people.

use std::time::Duration;

/// Client input, made safe to show: control characters escaped, and no longer than a name may be.
pub fn shown(text: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(text.as_ref());
    let cut: String = text.chars().take(crate::names::NAME_LIMIT).collect();
    format!("\"{}\"{}", cut.escape_debug(), if cut.len() < text.len() { "..." } else { "" })
}

/// A duration as one says it, to the second below an hour: `45 s`, `90 s`, `2 min 3 s`, `3 h 5 min`, `4 d 2 h`.
pub fn spoken(duration: Duration) -> String {
    spoken_in_minutes(duration, 120)
}

/// A duration as one says it, in seconds below `from` seconds and in minutes from there on. `from` is at most an hour.
pub fn spoken_in_minutes(duration: Duration, from: u64) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        _ if seconds < from => return format!("{seconds} s"),
        0..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// A number as JSON writes it: the standard library's own way to write a float would make the binary 17 kB larger.
pub fn decimal(number: f64) -> String {
    let text = serde_json::Value::from(number).to_string();
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Rows of equally many cells as a table, one line each. All but the last column are as wide as their widest cell.
pub fn columns(rows: &[Vec<String>]) -> String {
    let last = rows.first().map_or(0, |row| row.len().saturating_sub(1));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..last).map(width).chain([0]).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
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
        let check = |seconds: u64, text: &str| assert_eq!(spoken_in_minutes(Duration::from_secs(seconds), 60), text);
        check(1, "1 s");
        check(59, "59 s");
        check(60, "1 min");
        check(123, "2 min 3 s");
        check(3600, "1 h");
        check(3661, "1 h 1 min");
        check(3605, "1 h");
        check(86400 * 3 + 4 * 3600 + 5, "3 d 4 h");
    }
}
