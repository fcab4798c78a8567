//! Which hosts are alive. A host beats: it says now and then that it is there. One that stays silent for longer than it
//! announced is late, then down; what changes is said, once. Pure: beats and the time go in, messages come out.
//!
//! The server's monotonic clock alone decides: a host's own clock may be wrong, and often is on a host in trouble. The
//! caller reads the clock, so that the tests need none. After a restart no host is known, and none is down.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::exchange::{Refusal, shown};
use crate::form::{Pairs, checked};
use crate::message::{HOST_EVENT, Message};
use crate::sync::lock;

/// The most hosts known at once. With [`FIGURES_BYTES`] each they take some 30 MB at most.
pub const MOST_HOSTS: usize = 10_000;

/// The most bytes of figures one host sends along: names, numbers and a note of a few sentences.
pub const FIGURES_BYTES: usize = 2048;

/// The event name of what changes with a host: up, late, down, a reboot.
pub const STATE_EVENT: &str = "host-state";

/// How often a host beats that has not said how often.
const EVERY: Duration = Duration::from_secs(30);

/// A host cannot promise to beat more often: the keeper looks once a second, and a packet lost takes a second or two.
const EVERY_FLOOR: Duration = Duration::from_secs(3);

/// Nor less often: what is heard once a month is not monitored.
const EVERY_CEILING: Duration = Duration::from_secs(31 * 86_400);

/// Late after so many intervals of silence.
const LATE_AFTER: f64 = 1.5;

/// Down after so many.
const DOWN_AFTER: f64 = 3.0;

/// Figures that are numbers, none below zero: seconds, tasks, bytes.
pub const NUMBERS: [&str; 9] =
    ["every", "up", "load1", "load5", "load15", "mem_used", "mem_total", "disk_used", "disk_total"];

/// Ours to say: a host that beats is up.
const STATE: &str = "state";

/// What is thought of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Heard in time.
    Up,
    /// Silent for longer than announced.
    Late,
    /// Silent for so long that something is wrong.
    Down,
}

impl State {
    /// As it is written in messages and lists.
    pub fn word(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Late => "late",
            State::Down => "down",
        }
    }
}

/// One sign of life, with what the host says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beat {
    every: Option<Duration>,
    up: Option<f64>,
    /// What is carried along, in the host's order, `every` not among it.
    figures: Pairs,
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
        Ok(beat)
    }
}

/// A number as a host writes it: finite and not below zero.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// The hosts that are known. A lock of its own guards them, held for moments and never together with the hub's.
#[derive(Default)]
pub struct Hosts {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    hosts: BTreeMap<String, Host>,
    /// Nothing changes by silence before this. It may be too early, because beats do not move it.
    due: Option<Instant>,
}

struct Host {
    state: State,
    heard: Instant,
    every: Duration,
    up: Option<f64>,
    figures: Pairs,
}

/// A host as it stands, for a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its name.
    pub host: String,
    /// What is thought of it.
    pub state: State,
    /// How long ago it was heard.
    pub ago: Duration,
    /// How often it means to beat.
    pub every: Duration,
    /// What it last said of itself.
    pub figures: Pairs,
}

impl Hosts {
    /// Takes a beat of `host` in. Returns what is to be said, in this order: what has changed, if anything, and the
    /// beat.
    ///
    /// # Errors
    /// 503 where the host is new and as many are known as may be.
    pub fn beat(&self, host: &str, beat: Beat, now: Instant) -> Result<Vec<Message>, Refusal> {
        let mut known = lock(&self.known);
        if known.hosts.len() >= MOST_HOSTS && !known.hosts.contains_key(host) {
            let line =
                format!("{MOST_HOSTS} hosts are known, as many as may be; forget one with DELETE /beat/HOST first");
            return Err(Refusal::new(503, line));
        }
        let (host_now, change) = match known.hosts.entry(host.to_owned()) {
            Entry::Vacant(place) => {
                let every = beat.every.unwrap_or(EVERY);
                let new = Host { state: State::Up, heard: now, every, up: beat.up, figures: beat.figures };
                (place.insert(new), Some("is up".to_owned()))
            }
            Entry::Occupied(place) => {
                let host = place.into_mut();
                let change = host.take(beat, now);
                (host, change)
            }
        };
        let mut messages = vec![];
        messages.extend(change.map(|line| host_now.change(host, line)));
        messages.push(host_now.message(host));
        let due = host_now.due();
        known.due = known.due.into_iter().chain(due).min();
        Ok(messages)
    }

    /// Looks who has been silent for too long. Returns what is to be said. To be called about once a second; costs
    /// nothing while nobody is due.
    pub fn tick(&self, now: Instant) -> Vec<Message> {
        let mut known = lock(&self.known);
        if known.due.is_none_or(|due| now < due) {
            return vec![];
        }
        let silent = |(name, host): (&String, &mut Host)| host.fall_silent(now).map(|line| host.change(name, line));
        let messages = known.hosts.iter_mut().filter_map(silent).collect();
        known.due = known.hosts.values().filter_map(Host::due).min();
        messages
    }

    /// Forgets `host`. Returns what is to be said; `None` where it is not known.
    pub fn forget(&self, host: &str) -> Option<Message> {
        lock(&self.known).hosts.remove(host)?;
        let fields = vec![(STATE.to_owned(), "forgotten".to_owned())];
        Some(message(HOST_EVENT, host, "is forgotten".to_owned(), fields))
    }

    /// Every host as it stands, by name.
    pub fn list(&self, now: Instant) -> Vec<Standing> {
        let standing = |(name, host): (&String, &Host)| Standing {
            host: name.clone(),
            state: host.state,
            ago: now.saturating_duration_since(host.heard),
            every: host.every,
            figures: host.figures.clone(),
        };
        lock(&self.known).hosts.iter().map(standing).collect()
    }
}

impl Host {
    /// Takes a beat in; the line says what has changed by it.
    fn take(&mut self, beat: Beat, now: Instant) -> Option<String> {
        let rebooted = matches!((self.up, beat.up), (Some(before), Some(after)) if after < before);
        let silence = spoken(now.saturating_duration_since(self.heard));
        let line = match (self.state, rebooted) {
            (State::Up, false) => None,
            (State::Up, true) => Some("has rebooted".to_owned()),
            (_, false) => Some(format!("is up again after {silence}")),
            (_, true) => Some(format!("is up again after {silence}: it has rebooted")),
        };
        self.state = State::Up;
        self.heard = now;
        self.every = beat.every.unwrap_or(self.every);
        self.up = beat.up.or(self.up);
        self.figures = beat.figures;
        line
    }

    /// Judges the silence; the line says what has changed by it.
    fn fall_silent(&mut self, now: Instant) -> Option<String> {
        let silence = now.saturating_duration_since(self.heard);
        let state = if silence >= self.every.mul_f64(DOWN_AFTER) {
            State::Down
        } else if silence >= self.every.mul_f64(LATE_AFTER) {
            State::Late
        } else {
            State::Up
        };
        if state == self.state || self.state == State::Down {
            return None;
        }
        self.state = state;
        Some(format!("is {}: last heard {} ago", state.word(), spoken(silence)))
    }

    /// When its silence means something new.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Up => Some(self.heard + self.every.mul_f64(LATE_AFTER)),
            State::Late => Some(self.heard + self.every.mul_f64(DOWN_AFTER)),
            State::Down => None,
        }
    }

    fn change(&self, name: &str, line: String) -> Message {
        message(STATE_EVENT, name, line, vec![(STATE.to_owned(), self.state.word().to_owned())])
    }

    /// The beat as it goes out to those who ask for beats.
    fn message(&self, name: &str) -> Message {
        let mut fields =
            vec![(STATE.to_owned(), self.state.word().to_owned()), ("every".to_owned(), in_seconds(self.every))];
        fields.extend(self.figures.iter().cloned());
        message(HOST_EVENT, name, summary(&self.figures), fields)
    }
}

/// `1.5`, `30`. As JSON writes it anyway: the standard library's own way to write a float would make the binary 17 kB
/// larger.
fn in_seconds(duration: Duration) -> String {
    let text = serde_json::Value::from(duration.as_secs_f64()).to_string();
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn message(event: &'static str, host: &str, message: String, fields: Pairs) -> Message {
    let (name, channel) = (host.to_owned(), String::new());
    Message { id: 0, time: 0, event: Cow::Borrowed(event), channel, name, message, fields }
}

/// A host's figures in one line: `load 0.12, memory 31 %, disk 40 %, up 3 d 4 h, NOTE`.
fn summary(figures: &Pairs) -> String {
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

    fn pairs(text: &str) -> Pairs {
        crate::form::pairs(text, None, b"").unwrap()
    }

    /// What happens at a second.
    enum Happens {
        Beats(&'static str),
        Nothing,
        Forgotten,
    }
    use Happens::{Beats, Forgotten, Nothing};

    /// Plays `story`, ticking each second, and compares what was said, beats left out, with the second before it.
    fn check(story: &[(u64, Happens)], expected: &[&str]) {
        let (hosts, start) = (Hosts::default(), Instant::now());
        let mut said = vec![];
        let mut second = 0;
        for (at, happens) in story {
            let mut messages = vec![];
            while second < *at {
                second += 1;
                messages.extend(hosts.tick(start + Duration::from_secs(second)).into_iter().map(|line| (second, line)));
            }
            match happens {
                Beats(figures) => {
                    let beat = Beat::read(pairs(figures)).unwrap();
                    let answer = hosts.beat("web1", beat, start + Duration::from_secs(*at)).unwrap();
                    assert_eq!(answer.last().unwrap().event, HOST_EVENT, "every beat goes out");
                    messages.extend(answer.into_iter().map(|line| (*at, line)));
                }
                Nothing => {}
                Forgotten => assert!(hosts.forget("web1").is_some()),
            }
            let changes = messages.into_iter().filter(|(_, message)| message.event == STATE_EVENT);
            said.extend(changes.map(|(second, message)| format!("{second}: {} {}", message.name, message.message)));
        }
        assert_eq!(said, expected);
    }

    #[test]
    fn each_change_is_said_once() {
        check(&[(0, Beats("")), (30, Beats("")), (60, Beats("")), (70, Nothing)], &["0: web1 is up"]);
        check(
            &[(0, Beats("")), (500, Nothing)],
            &["0: web1 is up", "45: web1 is late: last heard 45 s ago", "90: web1 is down: last heard 90 s ago"],
        );
        check(
            &[(0, Beats("every=10")), (16, Beats("")), (26, Beats("")), (200, Beats("every=60")), (280, Beats(""))],
            &[
                "0: web1 is up",
                "15: web1 is late: last heard 15 s ago",
                "16: web1 is up again after 16 s",
                "41: web1 is late: last heard 15 s ago",
                "56: web1 is down: last heard 30 s ago",
                "200: web1 is up again after 2 min 54 s",
            ],
        );
    }

    #[test]
    fn falling_uptime_is_a_reboot() {
        check(
            &[(0, Beats("up=50")), (9, Beats("up=59")), (18, Beats("up=3"))],
            &["0: web1 is up", "18: web1 has rebooted"],
        );
        check(
            &[(0, Beats("up=50")), (9, Beats("")), (18, Beats("up=3.5"))],
            &["0: web1 is up", "18: web1 has rebooted"],
        );
        check(
            &[(0, Beats("up=50")), (90, Beats("up=20"))],
            &[
                "0: web1 is up",
                "45: web1 is late: last heard 45 s ago",
                "90: web1 is down: last heard 90 s ago",
                "90: web1 is up again after 90 s: it has rebooted",
            ],
        );
    }

    #[test]
    fn the_interval_has_a_floor_and_nonsense_is_no_interval() {
        let late_at_5 = ["0: web1 is up", "5: web1 is late: last heard 5 s ago"];
        check(&[(0, Beats("every=0.001")), (6, Nothing)], &late_at_5);
        check(&[(0, Beats("every=0")), (6, Nothing)], &late_at_5);
        for nonsense in ["every=-1", "every=NaN", "every=inf", "every=1e999", "every=x", "every="] {
            let story = [(0, Beats(nonsense)), (46, Nothing)];
            check(&story, &["0: web1 is up", "45: web1 is late: last heard 45 s ago"]);
        }
        check(&[(0, Beats("every=1e300")), (1000, Nothing)], &["0: web1 is up"]);
    }

    #[test]
    fn a_host_that_is_forgotten_is_not_missed() {
        check(&[(0, Beats("")), (10, Forgotten), (500, Nothing)], &["0: web1 is up"]);
        assert!(Hosts::default().forget("web1").is_none());
    }

    #[test]
    fn a_tick_that_comes_late_says_the_last_change_only() {
        let (hosts, start) = (Hosts::default(), Instant::now());
        hosts.beat("web1", Beat::default(), start).unwrap();
        let said = hosts.tick(start + Duration::from_secs(7200));
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].message, "is down: last heard 2 h ago");
    }

    #[test]
    fn a_beat_carries_what_the_host_says_of_itself() {
        let check = |sent: &str, summary: &str, fields: &str, complaint: Option<&str>| {
            let beat = Beat::read(pairs(sent)).unwrap();
            assert_eq!(beat.complaint.as_deref(), complaint, "{sent}");
            let message = Hosts::default().beat("web1", beat, Instant::now()).unwrap().pop().unwrap();
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
    fn what_is_too_much_is_refused() {
        let refused = |pairs: Pairs| Beat::read(pairs).unwrap_err().line;
        let note = vec![("note".to_owned(), "x".repeat(FIGURES_BYTES))];
        assert_eq!(refused(note), "the figures take 2052 bytes; send at most 2048");
        let many: Pairs = (0..33).map(|number| (format!("k{number}"), String::new())).collect();
        assert_eq!(refused(many), "there are 33 further fields; send at most 32");

        let (hosts, now) = (Hosts::default(), Instant::now());
        (0..MOST_HOSTS).for_each(|number| drop(hosts.beat(&format!("h{number}"), Beat::default(), now).unwrap()));
        let refusal = hosts.beat("one-more", Beat::default(), now).unwrap_err();
        assert_eq!(refusal.status, 503);
        hosts.beat("h7", Beat::default(), now).unwrap();
        hosts.forget("h7").unwrap();
        hosts.beat("one-more", Beat::default(), now).unwrap();
        assert_eq!(hosts.list(now).len(), MOST_HOSTS);
    }

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
