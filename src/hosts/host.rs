//! One known host: its state by its beats and its silence, and the words for a change.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::hosts::beat::{Beat, STATE};
use crate::http::form::Pairs;
use crate::room::message::{Digest, Message, digest_of};
use crate::text::spoken;

/// The event name of a change of a host: up, late, down, a reboot.
pub const STATE_EVENT: &str = "host-state";

/// The interval of a host that has not announced one.
pub(super) const EVERY: Duration = Duration::from_secs(30);

/// A host is late after so many intervals of silence.
const LATE_AFTER: f64 = 1.5;

/// A host is down after so many intervals of silence.
const DOWN_AFTER: f64 = 3.0;

/// The state of a host; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Heard in time.
    Up,
    /// Silent for longer than announced.
    Late,
    /// Silent for so long that something is wrong.
    Down,
}

impl State {
    /// The state as messages and lists write it.
    pub fn word(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Late => "late",
            State::Down => "down",
        }
    }
}

/// A known host.
pub struct Host {
    /// The state that was said last.
    pub(super) said: State,
    /// The id of the message that said so, or of its last beat, whichever is newer.
    pub(super) last: u64,
    pub(super) heard: Instant,
    pub(super) every: Duration,
    pub(super) up: Option<f64>,
    pub(super) figures: Pairs,
}

/// Something to be said of a host.
#[derive(Debug)]
pub struct Announcement {
    /// The message. `Hosts::follow` has to see it when it has an id. `Hosts::settle` has to be called when it was
    /// said or refused.
    pub message: Message,
    /// The digest of the change. Servers that have followed the same messages make the same digest. `None` if the
    /// message may be said twice.
    pub once: Option<Digest>,
}

impl Host {
    pub(super) fn new(now: Instant) -> Host {
        Host { said: State::Up, last: 0, heard: now, every: EVERY, up: None, figures: vec![] }
    }

    /// The text of the change that a beat brings; `None` if there is none. `said` is the state that was said before.
    pub(super) fn change_by(&self, beat: &Beat, said: State, now: Instant) -> Option<String> {
        let rebooted = matches!((self.up, beat.up), (Some(before), Some(after)) if after < before);
        let silence = spoken(now.saturating_duration_since(self.heard));
        match (said, rebooted) {
            (State::Up, false) => None,
            (State::Up, true) => Some("has rebooted".to_owned()),
            (_, false) => Some(format!("is up again after {silence}")),
            (_, true) => Some(format!("is up again after {silence}: it has rebooted")),
        }
    }

    /// Takes over the figures and the interval from the beat with this id.
    pub(super) fn take(&mut self, beat: Beat, id: u64, now: Instant) {
        self.last = id;
        self.heard = now;
        self.every = beat.every.unwrap_or(self.every);
        self.up = beat.up.or(self.up);
        self.figures = beat.figures;
    }

    /// The moment from which on its silence counts. `since` is when the server began to listen anew.
    fn silent_from(&self, since: Option<Instant>) -> Instant {
        since.map_or(self.heard, |since| since.max(self.heard))
    }

    /// Its state, judged by its silence alone.
    pub(super) fn judge(&self, since: Option<Instant>, now: Instant) -> State {
        let silence = now.saturating_duration_since(self.silent_from(since));
        if silence >= self.every.mul_f64(DOWN_AFTER) {
            State::Down
        } else if silence >= self.every.mul_f64(LATE_AFTER) {
            State::Late
        } else {
            State::Up
        }
    }

    /// The change that its silence brings; `None` if there is none. `said` is the state that was said before.
    pub(super) fn news_by_silence(
        &self,
        name: &str,
        said: State,
        since: Option<Instant>,
        now: Instant,
    ) -> Option<(State, Announcement)> {
        let state = self.judge(since, now);
        let silence = spoken(now.saturating_duration_since(self.heard));
        let line = || format!("is {}: last heard {silence} ago", state.word());
        (state > said).then(|| (state, self.news(name, state, line())))
    }

    /// The moment when its silence changes its state; `None` if it is down already.
    pub(super) fn due(&self, since: Option<Instant>) -> Option<Instant> {
        let intervals = match self.said {
            State::Up => LATE_AFTER,
            State::Late => DOWN_AFTER,
            State::Down => return None,
        };
        Some(self.silent_from(since) + self.every.mul_f64(intervals))
    }

    /// The announcement that it is in `state` now. The id of the last message about it goes into the digest, so the
    /// digest of the next such change is another one.
    pub(super) fn news(&self, name: &str, state: State, line: String) -> Announcement {
        let digest =
            digest_of(&[STATE_EVENT.as_bytes(), name.as_bytes(), state.word().as_bytes(), &self.last.to_be_bytes()]);
        Announcement { message: change(name, state, line), once: Some(digest) }
    }
}

pub(super) fn change(name: &str, state: State, line: String) -> Message {
    message(STATE_EVENT, name, line, vec![(STATE.to_owned(), state.word().to_owned())])
}

pub(super) fn message(event: &'static str, host: &str, message: String, fields: Pairs) -> Message {
    Message { event: Cow::Borrowed(event), name: host.to_owned(), message, fields, ..Message::default() }
}
