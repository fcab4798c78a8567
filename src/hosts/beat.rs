//! A beat: what a host says of itself, read and in words.

use std::time::Duration;

use crate::http::form::{Pairs, checked};
use crate::http::refusal::Refusal;
use crate::text::{shown, spoken};

/// The most bytes of figures one host sends along: names, numbers and a note of a few sentences.
pub const FIGURES_BYTES: usize = 2048;

/// A host cannot promise to beat more often: the keeper looks once a second, and a packet lost takes a second or two.
const EVERY_FLOOR: Duration = Duration::from_secs(3);

/// Nor can it promise less: a host heard once a month is not monitored.
const EVERY_CEILING: Duration = Duration::from_secs(31 * 86_400);

/// Figures that are numbers, none below zero: seconds, tasks, bytes.
pub const NUMBERS: [&str; 9] =
    ["every", "up", "load1", "load5", "load15", "mem_used", "mem_total", "disk_used", "disk_total"];

/// The field that says how a host stands. The server says it: a host that beats is up.
pub const STATE: &str = "state";

/// One sign of life, with what the host says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beat {
    /// How often the host means to beat from now on.
    pub every: Option<Duration>,
    /// For how many seconds it has been up.
    pub up: Option<f64>,
    /// The figures that are carried along, in the host's order, `every` not among them.
    pub figures: Pairs,
    /// Why something was left out, for the host to read: `load1="x" is no number`.
    pub complaint: Option<String>,
}

impl Beat {
    /// Reads a beat. A figure that should be a number and is none is left out: a host whose `df` fails is alive.
    ///
    /// # Errors
    /// 400 where there are too many figures, one of a name that is not plain, or they take too many bytes.
    pub fn read(pairs: Pairs) -> Result<Beat, Refusal> {
        let pairs = checked(pairs)?;
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > FIGURES_BYTES {
            let line = format!("the figures take {bytes} bytes; send at most {FIGURES_BYTES}");
            return Err(Refusal::new(400, line));
        }
        Ok(Beat::of(pairs))
    }

    /// Reads a beat that was taken already: no bound is checked.
    pub fn of(pairs: Pairs) -> Beat {
        let mut beat = Beat::default();
        for (key, value) in pairs {
            let number = number(&value);
            if value.is_empty() || key == STATE {
                continue;
            }
            if NUMBERS.contains(&key.as_str()) && number.is_none() {
                beat.complaint = Some(format!("{key}={} is left out, as it is no number", shown(&value)));
                continue;
            }
            match (key.as_str(), number) {
                ("every", Some(seconds)) => {
                    let seconds = seconds.clamp(EVERY_FLOOR.as_secs_f64(), EVERY_CEILING.as_secs_f64());
                    beat.every = Some(Duration::from_secs_f64(seconds));
                    continue;
                }
                ("up", seconds) => beat.up = seconds,
                _ => {}
            }
            beat.figures.push((key, value));
        }
        beat
    }
}

/// A number as a host writes it: finite and not below zero.
pub fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// `1.5`, `30`. As JSON writes it anyway: the standard library's own way to write a float would make the binary 17 kB
/// larger.
pub fn in_seconds(duration: Duration) -> String {
    let text = serde_json::Value::from(duration.as_secs_f64()).to_string();
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// A host's figures in one line: `load 0.12, memory 31 %, disk 40 %, up 3 d 4 h, NOTE`.
pub fn summary(figures: &Pairs) -> String {
    let figure = |key: &str| figures.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let mut parts = vec![];
    parts.extend(figure("load1").map(|load| format!("load {load}")));
    parts.extend(share(figures, "mem").map(|share| format!("memory {share}")));
    parts.extend(share(figures, "disk").map(|share| format!("disk {share}")));
    parts.extend(figure("up").and_then(seconds).map(|up| format!("up {}", spoken(up))));
    parts.extend(figure("note").map(str::to_owned));
    parts.join(", ")
}

/// How much of `what` is used, `31 %`, where `what_used` and `what_total` say so.
pub fn share(figures: &Pairs, what: &str) -> Option<String> {
    let figure = |end: &str| {
        let key = format!("{what}_{end}");
        figures.iter().find(|(known, _)| *known == key).and_then(|(_, value)| number(value))
    };
    let (used, total) = (figure("used")?, figure("total")?);
    (total > 0.0).then(|| format!("{} %", (100.0 * used / total).round() as u64))
}

/// Seconds as a host writes them.
pub fn seconds(text: &str) -> Option<Duration> {
    number(text).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::known::Hosts;
    use std::time::Instant;

    #[test]
    fn a_beat_carries_what_the_host_says_of_itself() {
        let check = |sent: &str, summary: &str, fields: &str, complaint: Option<&str>| {
            let beat = Beat::read(crate::http::form::pairs(sent, None, b"").unwrap()).unwrap();
            assert_eq!(beat.complaint.as_deref(), complaint, "{sent}");
            let message = Hosts::default().beat("web1", beat, Instant::now()).unwrap().1;
            assert_eq!(message.message, summary, "{sent}");
            let found: Vec<_> = message.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(found.join(" "), fields, "{sent}");
        };
        check("", "", "state=up every=30", None);
        check(
            "load1=0.10&mem_used=31&mem_total=100&disk_used=2&disk_total=5&up=273600.5&note=hot&every=10&fans=2",
            "load 0.10, memory 31 %, disk 40 %, up 3 d 4 h, hot",
            "state=up every=10 load1=0.10 mem_used=31 mem_total=100 disk_used=2 disk_total=5 up=273600.5 note=hot fans=2",
            None,
        );
        check("state=down&load1=&mem_total=0&mem_used=0", "", "state=up every=30 mem_total=0 mem_used=0", None);
        let complaint = r#"load1="x\n" is left out, as it is no number"#;
        check("load1=x%0A&note=n", "n", "state=up every=30 note=n", Some(complaint));
    }

    #[test]
    fn figures_that_are_too_much_are_refused() {
        let refused = |pairs: Pairs| Beat::read(pairs).unwrap_err().line;
        let note = vec![("note".to_owned(), "x".repeat(FIGURES_BYTES))];
        assert_eq!(refused(note), "the figures take 2052 bytes; send at most 2048");
        let many: Pairs = (0..33).map(|number| (format!("k{number}"), String::new())).collect();
        assert_eq!(refused(many), "there are 33 further fields; send at most 32");
    }
}
