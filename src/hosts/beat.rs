//! A beat: what a host says of itself, read and in words.

use std::time::Duration;

use crate::http::Refusal;
use crate::http::form::{Pairs, checked};
use crate::room::message::STATE;
use crate::room::standing::{BAD, standing};
use crate::text::{decimal, shown, spoken};

/// The most bytes of figures one host sends along: names, numbers and a note of a few sentences.
pub const FIGURES_BYTES: usize = 2048;

/// The most bytes of a reason.
const REASON_BYTES: usize = 1024;

/// The most lines of a reason. Of a log the last lines are taken, because they say what went wrong.
const REASON_LINES: usize = 10;

/// The shortest interval, in seconds. The keeper looks once a second, and a packet that is lost takes a second or two.
const EVERY_FLOOR: f64 = 3.0;

/// The least grace, in seconds.
const GRACE_FLOOR: f64 = 1.0;

/// The longest interval and the longest grace, in seconds. A host that is heard once a month is not monitored.
const CEILING: f64 = 31.0 * 86_400.0;

/// The largest figure: an exabyte. The line that refuses a larger one names it.
const MOST: f64 = 1e18;

/// The longest text of a figure that is carried along as it was written.
const DIGITS: usize = 24;

/// The field of a beat that says that a run begins.
pub const RUN: &str = "run";

/// The value of the field [`RUN`].
pub const BEGUN: &str = "begun";

/// The figure that says why a job has failed.
pub const REASON: &str = "reason";

/// The meaning of a request: to `/beat/HOST`, `/beat/HOST/start` or `/beat/HOST/fail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The host lives.
    Beat,
    /// The job begins a run.
    Start,
    /// The job has failed.
    Fail,
}

/// One sign of life, with what the host says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beat {
    /// How often the host means to beat from now on.
    pub every: Option<Duration>,
    /// How long it may be overdue before it is late.
    pub grace: Option<Duration>,
    /// For how many seconds it has been up.
    pub up: Option<f64>,
    /// Whether a run begins.
    pub begins: bool,
    /// Why it has failed, in one line that may be empty; `None` if it is well.
    pub failure: Option<String>,
    /// The figures that are carried along, in the host's order, `every` and `grace` not among them.
    pub figures: Pairs,
    /// Why something was left out, for the host to read.
    pub complaint: Option<String>,
}

impl Beat {
    /// Reads a beat. A figure that should be a number and is none is left out: a host whose `df` fails is alive.
    ///
    /// # Errors
    /// 400 if there are too many figures, if one has a name that is not plain, or if they take too many bytes.
    pub fn read(mut pairs: Pairs, report: Report) -> Result<Beat, Refusal> {
        let is_text = |key: &str| key == "message" || key == REASON || (key == "note" && report == Report::Fail);
        pairs.retain(|(key, _)| key != RUN);
        pairs.iter_mut().filter(|(key, _)| is_text(key)).for_each(|(_, text)| *text = tail(text));
        let pairs = checked(pairs)?;
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > FIGURES_BYTES {
            let line = format!("the figures take {bytes} bytes; send at most {FIGURES_BYTES}");
            return Err(Refusal::bad(line));
        }
        let mut beat = Beat::of(pairs);
        beat.begins = report == Report::Start;
        beat.judge(report == Report::Fail);
        Ok(beat)
    }

    /// Notes whether the host has failed, and why.
    fn judge(&mut self, fails: bool) {
        let figure = |key: &str| figure(&self.figures, key);
        let exit = figure("exit").filter(|exit| exit.trim().parse() != Ok(0.0));
        let exit = exit.map(|exit| format!("exit {}", tail(exit.trim())));
        let status = figure("status").filter(|status| standing(status) == BAD);
        if self.begins || !(fails || exit.is_some() || status.is_some()) {
            return;
        }
        let text = [REASON, "message", "note"].into_iter().find_map(figure).map(tail).unwrap_or_default();
        let last = text.lines().last().map(str::to_owned);
        let words: Vec<String> = exit.into_iter().chain(status.map(tail)).chain(last).collect();
        let failure = words.join(", ");
        let reason = if text.is_empty() { failure.clone() } else { text };
        self.figures.retain(|(key, _)| key != "message" && key != REASON);
        if !reason.is_empty() {
            self.figures.push((REASON.to_owned(), reason));
        }
        self.failure = Some(failure);
    }

    /// Reads a beat that was taken already: no bound is checked.
    pub fn of(pairs: Pairs) -> Beat {
        let mut beat = Beat::default();
        for (key, value) in pairs.into_iter().filter(|(key, value)| !value.trim().is_empty() && key != STATE) {
            let seconds = |floor| positive(&value).map(|number| Duration::from_secs_f64(number.clamp(floor, CEILING)));
            let left_out = |rule: &str| Some(format!("{key}={} is left out; send {rule}", shown(&value)));
            if ["every", "grace"].contains(&&*key) && positive(&value) > Some(CEILING) {
                beat.complaint = Some(format!("{key}={} is taken as {CEILING}", shown(&value)));
            }
            match key.as_str() {
                RUN => beat.begins = true,
                "every" if positive(&value).is_some() => beat.every = seconds(EVERY_FLOOR),
                "grace" if positive(&value).is_some() => beat.grace = seconds(GRACE_FLOOR),
                name if is_number(name) => match number(&value) {
                    Some(number) => beat.figures.push((key, plain(&value, number))),
                    None => beat.complaint = left_out("a number from 0 to 1e18"),
                },
                _ => beat.figures.push((key, value)),
            }
        }
        beat.up = figure(&beat.figures, "up").and_then(number);
        for (used, total) in [("mem_used", "mem_total"), ("disk_used", "disk_total")] {
            let value = |key: &str| figure(&beat.figures, key).and_then(number);
            if value(used) > value(total) && value(total).is_some() {
                beat.figures.retain(|(key, _)| key != used);
                beat.complaint = Some(format!("{used} is left out, as it is more than {total}"));
            }
        }
        beat
    }
}

/// Whether the figure of this name is a number, not below zero: seconds, tasks, bytes, percent.
pub fn is_number(name: &str) -> bool {
    matches!(name, "every" | "grace" | "up" | "load1" | "load5" | "load15" | "mem_used" | "mem_total")
        || matches!(name, "disk_used" | "disk_total" | "disk_above")
}

/// Whether the body of a request to `/beat/HOST/fail` has fields. Its type, `sent`, does not always tell: `curl -d`
/// calls a log a form too.
pub fn is_form(sent: &str, body: &[u8]) -> bool {
    let sent = sent.trim_start().to_ascii_lowercase();
    let key = body.split(|byte| *byte == b'=').next().filter(|key| key.len() < body.len());
    let key = key.and_then(|key| std::str::from_utf8(key).ok());
    let is_known = |key: &str| is_number(key) || ["message", "note", REASON, "exit", "status"].contains(&key);
    ["application/json", "multipart/"].iter().any(|other| sent.starts_with(other)) || key.is_some_and(is_known)
}

/// The last lines of `text` that say something, without control characters.
fn tail(text: &str) -> String {
    let lines = text.lines().rev().map(|line| line.replace(char::is_control, " "));
    let mut lines: Vec<String> = lines.filter(|line| !line.trim().is_empty()).take(REASON_LINES).collect();
    lines.reverse();
    let mut tail = lines.join("\n");
    let too_much = tail.len().saturating_sub(REASON_BYTES);
    tail.split_off((too_much..).find(|place| tail.is_char_boundary(*place)).unwrap_or(0))
}

/// The figure of this name.
pub fn figure<'a>(figures: &'a Pairs, name: &str) -> Option<&'a str> {
    figures.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A finite number that is not below zero.
fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// A figure that is a number.
fn number(text: &str) -> Option<f64> {
    positive(text).filter(|number| *number <= MOST)
}

/// A `number` as it was written in `text`. If that is none in JSON, as `.5`, or has very many digits, it is written
/// anew.
fn plain(text: &str, number: f64) -> String {
    let is_plain = text.len() <= DIGITS && text.parse::<serde_json::Number>().is_ok();
    if is_plain { text.to_owned() } else { decimal(number) }
}

/// A host's figures in one line: `load 0.12, memory 31 %, disk 40 %, up 3 d 4 h, NOTE`.
pub fn summary(figures: &Pairs) -> String {
    let figure = |key: &str| figure(figures, key);
    let mut parts = vec![];
    parts.extend(figure("load1").map(|load| format!("load {load}")));
    parts.extend(share(figures, "mem").map(|share| format!("memory {share}")));
    parts.extend(share(figures, "disk").map(|share| format!("disk {share}")));
    parts.extend(figure("up").and_then(seconds).map(|up| format!("up {}", spoken(up))));
    let why = figure(REASON).and_then(|reason| reason.lines().last());
    parts.extend(why.into_iter().chain(figure("note").filter(|note| Some(*note) != why)).map(str::to_owned));
    parts.join(", ")
}

/// How much of `what` is used, such as `31 %`, if the figures `what_used` and `what_total` are known.
pub fn share(figures: &Pairs, what: &str) -> Option<String> {
    let figure = |end: &str| figure(figures, &format!("{what}_{end}")).and_then(number);
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
    use crate::hosts::story::pairs;
    use std::time::Instant;

    #[test]
    fn a_beat_carries_what_the_host_says_of_itself() {
        let check = |sent: &str, summary: &str, fields: &str, complaint: Option<&str>| {
            let beat = Beat::read(pairs(sent), Report::Beat).unwrap();
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
        check(
            "mem_used=3&mem_total=2&disk_used=1e2&disk_total=.1e4&load1=.5",
            "load 0.5, disk 10 %",
            "state=up every=30 mem_total=2 disk_used=1e2 disk_total=1000 load1=0.5",
            Some("mem_used is left out, as it is more than mem_total"),
        );
        let long = format!("load1=0.{}", "3".repeat(1900));
        check(&long, "load 0.3333333333333333", "state=up every=30 load1=0.3333333333333333", None);
        for (sent, rule) in
            [("disk_above=full", "a number from 0 to 1e18"), ("disk_total=1e308", "a number from 0 to 1e18")]
        {
            let (key, value) = sent.split_once('=').unwrap();
            check(sent, "", "state=up every=30", Some(&format!("{key}=\"{value}\" is left out; send {rule}")));
        }
        let longest = Some(r#"every="7776000" is taken as 2678400"#);
        check("every=7776000", "", "state=up every=2678400", longest);
        let many = "1".repeat(1900);
        let complaint = format!("up=\"{}\"... is left out; send a number from 0 to 1e18", "1".repeat(64));
        check(&format!("up={many}"), "", "state=up every=30", Some(&complaint));
        let complaint = r#"load1="x\n" is left out; send a number from 0 to 1e18"#;
        check("load1=x%0A&note=n", "n", "state=up every=30 note=n", Some(complaint));
    }

    #[test]
    fn figures_that_are_too_much_are_refused() {
        let refused = |pairs: Pairs| Beat::read(pairs, Report::Beat).unwrap_err().line;
        let note = vec![("note".to_owned(), "x".repeat(FIGURES_BYTES))];
        assert_eq!(refused(note), "the figures take 2052 bytes; send at most 2048");
        let many: Pairs = (0..33).map(|number| (format!("k{number}"), String::new())).collect();
        assert_eq!(refused(many), "there are 33 further fields; send at most 32");
    }

    #[test]
    fn the_last_lines_of_a_log_are_the_reason() {
        let log: String = (0..50).map(|line| format!("line {line}\r\n\n")).collect();
        let failed = |message: String| Beat::read(vec![("message".to_owned(), message)], Report::Fail).unwrap();
        let beat = failed(log + "\t\x1b[31mno room\u{9b}");
        assert_eq!(beat.failure.as_deref(), Some("  [31mno room "));
        let lines: Vec<_> = figure(&beat.figures, REASON).unwrap().lines().collect();
        assert_eq!((lines.len(), lines[0]), (10, "line 41"));
        let long = failed("ü".repeat(5000));
        assert_eq!(long.figures[0].1.len(), REASON_BYTES);
        assert_eq!(failed(String::new()).failure.as_deref(), Some(""));
        let begun = Beat::read(pairs("exit=1"), Report::Start).unwrap();
        assert_eq!((begun.begins, begun.failure), (true, None));
        for (body, form) in [("exit=1&note=x", true), ("message=a b", true), ("E: no=1", false), ("failed", false)] {
            assert_eq!(is_form("application/x-www-form-urlencoded", body.as_bytes()), form, "{body}");
        }
    }
}
