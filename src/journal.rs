//! The log: to stderr, one line for each event worth knowing. Trouble that may come a thousand times a second is said a
//! few times, then counted, so that no client can fill a disk by it. What a client sent is escaped where it is logged
//! (`exchange::shown`).

use std::fmt::Display;
use std::io::LineWriter;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

use crate::sync::lock;

/// Lines written about one kind of trouble in one [`SPAN`].
const LINES: u32 = 5;

/// After this long a kind of trouble is news again.
const SPAN: Duration = Duration::from_secs(10);

/// Sends what is at `level` or graver to stderr, a panic's message among it.
pub fn start(level: LevelFilter) {
    let mut config = ConfigBuilder::new();
    config.set_time_format_rfc3339().set_thread_level(LevelFilter::Off).set_target_level(LevelFilter::Off);
    config.set_location_level(LevelFilter::Off);
    // One write for a line, whole, even where two processes share a stderr.
    let stderr = LineWriter::new(std::io::stderr());
    let _ = WriteLogger::init(level, config.build(), stderr); // an embedding program may have a log already
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{}", panic.to_string().replace(char::is_control, " "));
    }));
}

/// Threads that could not be started, descriptors that ran out: what stands in the way of new connections.
pub static ACCEPTING: Trouble = Trouble::new("trouble with accepting");
/// Listeners that were hung up on, or given up.
pub static SLOW_LISTENERS: Trouble = Trouble::new("slow listeners");
/// Those who were turned away because the server was full.
pub static FULL: Trouble = Trouble::new("turned away");
/// Webhooks that did not prove the secret.
pub static HOOKS: Trouble = Trouble::new("refused hooks");
/// Messages that could not be kept.
pub static KEEPING: Trouble = Trouble::new("trouble with keeping messages");

/// One kind of trouble.
pub struct Trouble {
    what: &'static str,
    state: Mutex<State>,
}

struct State {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl Trouble {
    const fn new(what: &'static str) -> Trouble {
        Trouble { what, state: Mutex::new(State { since: None, lines: 0, unsaid: 0 }) }
    }

    /// Logs `line` as a warning, or counts it if there were enough like it lately.
    pub fn warn(&self, line: impl Display) {
        if self.is_news(Instant::now()) {
            log::warn!("{line}");
        }
    }

    fn is_news(&self, now: Instant) -> bool {
        self.settle(now);
        let mut state = lock(&self.state);
        state.since.get_or_insert(now);
        if state.lines < LINES {
            state.lines += 1;
            return true;
        }
        state.unsaid += 1;
        false
    }

    /// Says how many were only counted, once their time is over.
    fn settle(&self, now: Instant) {
        let mut state = lock(&self.state);
        if state.since.is_some_and(|since| now.duration_since(since) >= SPAN) {
            if state.unsaid > 0 {
                log::warn!("{}: {} more in {} s", self.what, state.unsaid, SPAN.as_secs());
            }
            *state = State { since: None, lines: 0, unsaid: 0 };
        }
    }
}

/// Says what was only counted, of every kind. The keeper calls it once a second.
pub fn settle_all() {
    let now = Instant::now();
    [&ACCEPTING, &SLOW_LISTENERS, &FULL, &HOOKS, &KEEPING].into_iter().for_each(|trouble| trouble.settle(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_trouble_is_counted_and_news_again_later() {
        let trouble = Trouble::new("test");
        let start = Instant::now();
        let said = (0..100).filter(|_| trouble.is_news(start)).count();
        assert_eq!(said as u32, LINES);
        assert_eq!(trouble.state.lock().unwrap().unsaid, 100 - u64::from(LINES));
        assert!(trouble.is_news(start + SPAN), "news again after the span");
        assert_eq!(trouble.state.lock().unwrap().unsaid, 0, "what was counted has been said");
    }
}
