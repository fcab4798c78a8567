//! One known host: its state by its beats and its silence, and the words for a change.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::hosts::beat::{Beat, REASON, STATE, figure, in_seconds, seconds};
use crate::http::form::Pairs;
use crate::room::message::{Digest, HOST_STATE_EVENT, Message, digest_of};
use crate::text::spoken;

/// The interval of a host that has not announced one.
const EVERY: Duration = Duration::from_secs(30);

/// A host is down after so many graces beyond its interval. It is late after one.
const GRACES_TO_DOWN: u32 = 4;

/// A host that changes more often than this within [`FLAP_SPAN`] flaps.
const MOST_CHANGES: usize = 6;

/// A host that flaps is stable again when it has changed no more often than this within [`FLAP_SPAN`].
const CALM_CHANGES: usize = 3;

const FLAP_SPAN: Duration = Duration::from_secs(600);

/// The field of a change that is not worth a line, because its host flaps: how often it has changed lately.
pub(super) const FLAPS: &str = "flaps";

/// The field of the last change of a run: how many seconds it took.
const SECONDS: &str = "seconds";

/// The field of a change by silence: for how many seconds the host has been silent.
const SILENT: &str = "silent";

/// The state of a host; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Heard in time.
    Up,
    /// Silent for longer than announced.
    Late,
    /// It lives, and says that it has failed.
    Failed,
    /// Silent for so long that something is wrong.
    Down,
}

impl State {
    /// The state as messages and lists write it.
    pub fn word(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Late => "late",
            State::Failed => "failed",
            State::Down => "down",
        }
    }

    /// The state that a beat brings. `said` is the state that was said before.
    pub(super) fn by(beat: &Beat, said: State) -> State {
        let fails = beat.failure.is_some() || (beat.begins && said == State::Failed);
        if fails { State::Failed } else { State::Up }
    }

    /// The state in the fields of a message.
    pub(super) fn of(message: &Message) -> Option<State> {
        let word = message.field(STATE)?;
        [State::Up, State::Late, State::Failed, State::Down].into_iter().find(|state| state.word() == word)
    }
}

/// A known host.
pub struct Host {
    /// The state that was said last.
    pub(super) said: State,
    /// Since when it is in that state.
    since: Instant,
    /// The id of the message that said so, or of its last beat, whichever is newer.
    pub(super) last: u64,
    pub(super) heard: Instant,
    /// Whether `heard` is the time of a beat. It is not after a restart.
    beaten: bool,
    pub(super) every: Duration,
    pub(super) grace: Option<Duration>,
    up: Option<f64>,
    /// When the run began that has not ended yet.
    begun: Option<Instant>,
    pub(super) figures: Pairs,
    /// Its newest changes.
    changes: VecDeque<Instant>,
    /// Whether it changes so often that it is not said.
    pub(super) flaps: bool,
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
        Host {
            said: State::Up,
            since: now,
            last: 0,
            heard: now,
            beaten: true,
            every: EVERY,
            grace: None,
            up: None,
            begun: None,
            figures: vec![],
            changes: VecDeque::new(),
            flaps: false,
        }
    }

    /// The host that `message` is the newest word on, from before a restart or from before this server began to follow.
    /// It is in its state since `since`, and it is `clock` now, both in microseconds since 1970.
    pub(super) fn kept(message: &Message, since: u64, clock: u64, now: Instant) -> Host {
        let ago = |start: Instant, micros: u64| start.checked_sub(Duration::from_micros(micros));
        let mut host = Host::new(now);
        host.take_state(message, State::of(message).unwrap_or(State::Up), now);
        let silent = message.field(SILENT).and_then(seconds);
        let said = ago(now, clock.saturating_sub(message.time));
        let heard = said.zip(silent).and_then(|(said, silent)| said.checked_sub(silent));
        host.since = ago(now, clock.saturating_sub(since)).unwrap_or(now);
        (host.heard, host.beaten) = (heard.unwrap_or(now), heard.is_some());
        host.figures.extend(message.field(REASON).map(|reason| (REASON.to_owned(), reason.to_owned())));
        host.changes.clear();
        host
    }

    /// Takes over what `message` says: that it is in `state`.
    pub(super) fn take_state(&mut self, message: &Message, state: State, now: Instant) {
        if state != self.said {
            (self.said, self.since) = (state, now);
            self.changes.push_back(now);
            let most = self.changes.len().min(MOST_CHANGES + 1);
            self.changes.drain(..self.changes.len() - most);
        }
        self.flaps = self.changes_lately(now) > if self.flaps { CALM_CHANGES } else { MOST_CHANGES };
        self.last = message.id;
        let told = Beat::of(message.fields.clone());
        (self.every, self.grace) = (told.every.unwrap_or(self.every), told.grace.or(self.grace));
        if matches!(state, State::Up | State::Failed) {
            (self.heard, self.beaten) = (now, true); // its beat comes next, but a tick may come first
        }
    }

    /// Takes over the figures and the interval from the beat with this id.
    pub(super) fn take(&mut self, beat: Beat, id: u64, now: Instant) {
        (self.last, self.heard, self.beaten) = (id, now, true);
        (self.every, self.grace) = (beat.every.unwrap_or(self.every), beat.grace.or(self.grace));
        self.up = beat.up.or(self.up);
        self.begun = beat.begins.then_some(now);
        if !beat.begins {
            self.figures = beat.figures;
        }
    }

    fn changes_lately(&self, now: Instant) -> usize {
        self.changes.iter().filter(|change| now.saturating_duration_since(**change) < FLAP_SPAN).count()
    }

    /// For how long it has been silent, as one says it.
    fn silence(&self, now: Instant) -> String {
        let least = if self.beaten { "" } else { "at least " };
        format!("{least}{}", spoken(now.saturating_duration_since(self.heard)))
    }

    /// The change that a beat brings; `None` if there is none. The change to the state `waiting` waits to be said.
    pub(super) fn news_by_beat(
        &self,
        name: &str,
        beat: &Beat,
        waiting: Option<State>,
        now: Instant,
    ) -> Option<(State, Announcement)> {
        let said = waiting.unwrap_or(self.said);
        let state = State::by(beat, said);
        let took = self.begun.filter(|_| !beat.begins).map(|begun| now.saturating_duration_since(begun));
        let why = beat.failure.as_deref().filter(|why| !why.is_empty()).map(|why| format!(": {why}"));
        let why = why.unwrap_or_default();
        let rebooted = matches!((self.up, beat.up), (Some(before), Some(after)) if after < before);
        let also = if rebooted { ": it has rebooted" } else { "" };
        let every = beat.every.unwrap_or(self.every);
        let grace = beat.grace.or(self.grace);
        let line = match (state, said, took) {
            (State::Failed, _, Some(took)) => format!("failed after {}{why}", spoken(took)),
            (_, _, Some(took)) => format!("done in {}", spoken(took)),
            (State::Failed, State::Up | State::Late | State::Down, None) => format!("has failed{why}"),
            (State::Up, State::Failed, None) => {
                format!("is well again after {}{also}", spoken(now.saturating_duration_since(self.since)))
            }
            (State::Up, State::Late | State::Down, None) => format!("is up again after {}{also}", self.silence(now)),
            _ if rebooted => "has rebooted".to_owned(),
            _ if (every, grace) != (self.every, self.grace) => {
                let grace = grace.map(|grace| format!(", {} of grace", spoken(grace))).unwrap_or_default();
                format!("now beats every {}{grace}", spoken(every))
            }
            _ => return None,
        };
        if took.is_none() && waiting == Some(state) {
            return None;
        }
        let mut fields = fields(state, every, grace);
        fields.extend(took.map(|took| (SECONDS.to_owned(), in_seconds(Duration::from_secs(took.as_secs())))));
        fields.extend(figure(&beat.figures, REASON).map(|reason| (REASON.to_owned(), reason.to_owned())));
        Some((state, self.news(name, state, said, line, fields, now)))
    }

    /// The moment from which on its silence counts. `since` is when the server began to listen anew.
    fn silent_from(&self, since: Option<Instant>) -> Instant {
        since.map_or(self.heard, |since| since.max(self.heard))
    }

    /// After how much silence it is late, and after how much it is down.
    fn limits(&self) -> (Duration, Duration) {
        let grace = self.grace.unwrap_or(self.every / 2);
        (self.every + grace, self.every + grace * GRACES_TO_DOWN)
    }

    /// Its state, judged by its silence alone.
    pub(super) fn judge(&self, since: Option<Instant>, now: Instant) -> State {
        let silence = now.saturating_duration_since(self.silent_from(since));
        match self.limits() {
            (_, down) if silence >= down => State::Down,
            (late, _) if silence >= late => State::Late,
            _ => State::Up,
        }
    }

    /// The change to `state` that its silence brings. `said` is the state that was said before.
    pub(super) fn news_by_silence(&self, name: &str, state: State, said: State, now: Instant) -> Announcement {
        let line = format!("is {}: last heard {} ago", state.word(), self.silence(now));
        let mut fields = fields(state, self.every, self.grace);
        let silent = Duration::from_secs(now.saturating_duration_since(self.heard).as_secs());
        fields.push((SILENT.to_owned(), in_seconds(silent)));
        self.news(name, state, said, line, fields, now)
    }

    /// That it flaps no longer; `None` if it does, or never did.
    pub(super) fn news_by_calm(&self, name: &str, now: Instant) -> Option<Announcement> {
        let is_calm = self.flaps && self.changes_lately(now) <= CALM_CHANGES;
        let line = || format!("is stable again: {}", self.said.word());
        let fields = || fields(self.said, self.every, self.grace);
        is_calm.then(|| self.news(name, self.said, self.said, line(), fields(), now))
    }

    /// The moment when its silence changes its state, or when it no longer flaps; `None` if there will be none.
    pub(super) fn due(&self, since: Option<Instant>) -> Option<Instant> {
        let silence = match self.said {
            State::Up => Some(self.limits().0),
            State::Late | State::Failed => Some(self.limits().1),
            State::Down => None,
        };
        let calm = self.changes.iter().rev().nth(CALM_CHANGES).filter(|_| self.flaps);
        let changes = silence.map(|silence| self.silent_from(since) + silence);
        changes.into_iter().chain(calm.map(|change| *change + FLAP_SPAN)).min()
    }

    /// The announcement that it is in `state` now. The id of the last message about it goes into the digest, so the
    /// digest of the next such change is another one. If it flaps, that is said once, and its changes are not.
    fn news(
        &self,
        name: &str,
        state: State,
        said: State,
        mut line: String,
        mut fields: Pairs,
        now: Instant,
    ) -> Announcement {
        let changes = self.changes_lately(now) + 1;
        if state != said && self.flaps {
            fields.push((FLAPS.to_owned(), changes.to_string()));
        } else if state != said && changes > MOST_CHANGES {
            line = format!("flaps: {changes} changes in {}; not said until it is stable", spoken(FLAP_SPAN));
        }
        let parts = [HOST_STATE_EVENT.as_bytes(), name.as_bytes(), state.word().as_bytes(), &self.last.to_be_bytes()];
        let once = Some(digest_of(&parts));
        let (key, status) = (name.to_owned(), state.word().to_owned());
        Announcement { message: Message { key, status, ..message(HOST_STATE_EVENT, name, line, fields) }, once }
    }

    /// That it is known from now on.
    pub(super) fn news_of_a_new_one(&self, name: &str, beat: &Beat, now: Instant) -> (State, Announcement) {
        let every = beat.every.unwrap_or(self.every);
        let fields = fields(State::Up, every, beat.grace);
        let is_up = || (State::Up, self.news(name, State::Up, State::Up, "is up".to_owned(), fields, now));
        let failed = self.news_by_beat(name, beat, None, now).filter(|(state, _)| *state == State::Failed);
        let (state, news) = failed.unwrap_or_else(is_up);
        (state, Announcement { once: None, ..news })
    }
}

/// The fields of every message about a host.
pub(super) fn fields(state: State, every: Duration, grace: Option<Duration>) -> Pairs {
    let mut fields = vec![(STATE, state.word().to_owned()), ("every", in_seconds(every))];
    fields.extend(grace.map(|grace| ("grace", in_seconds(grace))));
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(super) fn message(event: &'static str, host: &str, message: String, fields: Pairs) -> Message {
    Message { event: Cow::Borrowed(event), name: host.to_owned(), message, fields, ..Message::default() }
}
