//! One known host: its state by its beats and its silence, and the words for a change.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock::now_micros;
use crate::hosts::beat::{Beat, REASON, figure, seconds};
use crate::http::form::Pairs;
use crate::room::message::{AMONG, FLAPS, HOST_STATE_EVENT, HOST_STATES, STATE, digest_of};
use crate::room::things::{SAID, SINCE};
use crate::room::{Digest, Message};
use crate::text::{decimal, spoken};

/// The interval of a host that has not announced one.
const EVERY: Duration = Duration::from_secs(30);

/// A host is down after so many graces beyond its interval. It is late after one.
const GRACES_TO_DOWN: u32 = 4;

/// A host that changes more often than this within [`FLAP_SPAN`] flaps.
const MOST_CHANGES: usize = 6;

/// A host that flaps is stable again when it has changed no more often than this within [`FLAP_SPAN`].
const CALM_CHANGES: usize = 3;

const FLAP_SPAN: Duration = Duration::from_secs(600);

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
        HOST_STATES[self as usize]
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
#[derive(Clone)]
pub struct Host {
    pub(super) name: String,
    /// The state that was said last.
    pub(super) state: State,
    /// Since when it is in that state.
    since: Instant,
    /// The id of the message that said so, or of its last beat, whichever is newer; 0 if it is not known yet.
    pub(super) last: u64,
    pub(super) heard: Instant,
    /// Whether `heard` is the time of a beat. It is not after a restart.
    pub(super) beaten: bool,
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
    /// The id of its last change, if it changed in a crowd of which no line has spoken yet.
    pub(super) untold: Option<u64>,
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
    pub(super) fn new(name: &str, now: Instant) -> Host {
        Host {
            name: name.to_owned(),
            state: State::Up,
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
            untold: None,
        }
    }

    /// The host that `message` is the newest word on, from before a restart or from before this server began to follow.
    /// If the message does not tell since when the host is in its state, that is `since`, in microseconds since 1970.
    pub(super) fn kept(message: &Message, since: u64, now: Instant) -> Host {
        let at = |time: u64| now.checked_sub(Duration::from_micros(now_micros().saturating_sub(time)));
        let time = |field: &str, or: u64| at(message.field(field).and_then(|time| time.parse().ok()).unwrap_or(or));
        let mut host = Host::new(&message.key, now);
        host.take_state(message, State::of(message).unwrap_or(State::Up), now);
        let silent = message.field(SILENT).and_then(seconds);
        let heard = time(SAID, message.time).zip(silent).and_then(|(said, silent)| said.checked_sub(silent));
        host.since = time(SINCE, since).unwrap_or(now);
        (host.heard, host.beaten) = (heard.unwrap_or(now), heard.is_some());
        host.figures.extend(message.field(REASON).map(|reason| (REASON.to_owned(), reason.to_owned())));
        host.changes.clear();
        host
    }

    /// The host as it stands by the newest word on it. That is `message`, which a host that was known `before` may have
    /// followed or not.
    pub(super) fn renewed(before: Option<Host>, message: &Message, since: u64, now: Instant) -> Host {
        let is_followed = |host: &Host| host.last >= message.id && State::of(message) == Some(host.state);
        let (figures, up) = match before {
            Some(host) if is_followed(&host) => return host,
            before => before.map(|host| (host.figures, host.up)).unwrap_or_default(),
        };
        let mut host = Host { up, untold: None, ..Host::kept(message, since, now) }; // a line may have spoken of it
        host.figures.extend(figures.into_iter().filter(|(key, _)| key != REASON));
        host
    }

    /// Takes over the change to `state` that `message` tells.
    pub(super) fn take_state(&mut self, message: &Message, state: State, now: Instant) {
        if state != self.state {
            (self.state, self.since) = (state, now);
            self.changes.push_back(now);
            self.changes.drain(..self.changes.len().saturating_sub(MOST_CHANGES + 1));
        }
        self.flaps = self.changes_lately(now) > if self.flaps { CALM_CHANGES } else { MOST_CHANGES };
        self.last = message.id;
        self.untold = message.field(AMONG).map(|_| message.id);
        (self.every, self.grace) = self.rhythm(&Beat::of(message.fields.clone()));
        if matches!(state, State::Up | State::Failed) {
            (self.heard, self.beaten) = (now, true); // its beat comes next, but a tick may come first
        }
    }

    /// Takes over the figures and the interval from the beat with this id.
    pub(super) fn take(&mut self, beat: Beat, id: u64, now: Instant) {
        (self.last, self.heard, self.beaten) = (id, now, true);
        (self.every, self.grace) = self.rhythm(&beat);
        self.up = beat.up.or(self.up);
        self.begun = beat.begins.then_some(now);
        if !beat.begins {
            self.figures = beat.figures;
        }
    }

    /// The interval of its beats and the grace, if there is one, from this `beat` on.
    pub(super) fn rhythm(&self, beat: &Beat) -> (Duration, Option<Duration>) {
        (beat.every.unwrap_or(self.every), beat.grace.or(self.grace))
    }

    /// Why its job has failed, if it has.
    pub(super) fn reason(&self) -> Option<&str> {
        figure(&self.figures, REASON).filter(|_| self.state == State::Failed)
    }

    fn changes_lately(&self, now: Instant) -> usize {
        self.changes.iter().filter(|change| now.saturating_duration_since(**change) < FLAP_SPAN).count()
    }

    /// For how long it has been silent, in words.
    pub(super) fn silence(&self, now: Instant) -> String {
        let least = if self.beaten { "" } else { "at least " };
        format!("{least}{}", spoken(now.saturating_duration_since(self.heard)))
    }

    /// The change that a beat brings; `None` if there is none. A host that is new is a change too. The change to the
    /// state `waiting` waits to be said.
    pub(super) fn news_by_beat(&self, beat: &Beat, waiting: Option<State>, now: Instant) -> Option<Announcement> {
        let said = waiting.unwrap_or(self.state);
        let state = State::by(beat, said);
        let took = self.begun.filter(|_| !beat.begins).map(|begun| now.saturating_duration_since(begun));
        // The beat that begins a run gives no reason. The failure before it still stands, with its own.
        let reason = figure(&beat.figures, REASON).or_else(|| self.reason().filter(|_| beat.begins));
        let why = beat.failure.as_deref().or_else(|| reason?.lines().last()).filter(|why| !why.is_empty());
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        let rebooted = matches!((self.up, beat.up), (Some(before), Some(after)) if after < before);
        let also = if rebooted { ": it has rebooted" } else { "" };
        let still = if state == State::Failed { format!(", and has failed{why}") } else { String::new() };
        let (every, grace) = self.rhythm(beat);
        let line = match (state, said, took) {
            (State::Failed, _, Some(took)) => format!("failed after {}{why}", spoken(took)),
            (_, _, Some(took)) => format!("done in {}", spoken(took)),
            (State::Failed, State::Up | State::Late | State::Down, None) => format!("has failed{why}"),
            (State::Up, State::Failed, None) => {
                format!("is well again after {}{also}", spoken(now.saturating_duration_since(self.since)))
            }
            (State::Up, State::Late | State::Down, None) => format!("is up again after {}{also}", self.silence(now)),
            _ if self.last == 0 => "is up".to_owned(),
            _ if rebooted => format!("has rebooted{still}"),
            _ if (every, grace) != (self.every, self.grace) => {
                let grace = grace.map(|grace| format!(", {} of grace", spoken(grace))).unwrap_or_default();
                format!("now beats every {}{grace}{still}", spoken(every))
            }
            _ => return None,
        };
        if took.is_none() && waiting == Some(state) {
            return None;
        }
        let mut fields = fields(state, (every, grace));
        fields.extend(took.map(|took| (SECONDS.to_owned(), took.as_secs().to_string())));
        fields.extend(reason.map(|reason| (REASON.to_owned(), reason.to_owned())));
        Some(self.news(state, said, line, fields, now))
    }

    /// Its state, judged by its silence alone. Silence before the moment `since` does not count.
    pub(super) fn judge(&self, since: Option<Instant>, now: Instant) -> State {
        let silence = now.saturating_duration_since(since.map_or(self.heard, |since| since.max(self.heard)));
        let grace = self.grace.unwrap_or(self.every / 2);
        match silence {
            _ if silence >= self.every + grace * GRACES_TO_DOWN => State::Down,
            _ if silence >= self.every + grace => State::Late,
            _ => State::Up,
        }
    }

    /// The host as it stands `now`, by its silence too.
    pub(super) fn at(&self, since: Option<Instant>, now: Instant) -> Host {
        Host { state: self.state.max(self.judge(since, now)), ..self.clone() }
    }

    /// The change to `state` that its silence brings. `said` is the state that was said before.
    pub(super) fn news_by_silence(&self, state: State, said: State, now: Instant) -> Announcement {
        let line = format!("is {}: last heard {} ago", state.word(), self.silence(now));
        let mut fields = fields(state, (self.every, self.grace));
        let silent = now.saturating_duration_since(self.heard).as_secs();
        fields.push((SILENT.to_owned(), silent.to_string()));
        self.news(state, said, line, fields, now)
    }

    /// The announcement that it flaps no longer; `None` if it still flaps, or never did.
    pub(super) fn news_by_calm(&self, now: Instant) -> Option<Announcement> {
        let is_calm = self.flaps && self.changes_lately(now) <= CALM_CHANGES;
        let line = || format!("is stable again: {}", self.state.word());
        let fields = || fields(self.state, (self.every, self.grace));
        is_calm.then(|| self.news(self.state, self.state, line(), fields(), now))
    }

    /// The announcement that it is in `state` now. If it flaps, that is said once, and its changes are not.
    fn news(&self, state: State, said: State, mut line: String, mut fields: Pairs, now: Instant) -> Announcement {
        let changes = self.changes_lately(now) + 1;
        if state != said && self.flaps {
            fields.push((FLAPS.to_owned(), changes.to_string()));
        } else if state != said && changes > MOST_CHANGES {
            line = format!("flaps: {changes} changes in {}; not said until it is stable", spoken(FLAP_SPAN));
        }
        let news = announcement(&self.name, state, self.last, line, fields);
        Announcement { once: news.once.filter(|_| self.last > 0), ..news }
    }
}

/// The fields of every message about a host.
pub(super) fn fields(state: State, (every, grace): (Duration, Option<Duration>)) -> Pairs {
    let mut fields = vec![(STATE, state.word().to_owned()), ("every", decimal(every.as_secs_f64()))];
    fields.extend(grace.map(|grace| ("grace", decimal(grace.as_secs_f64()))));
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The announcement that `host`, or several if that is empty, is in `state` now. The id of the `last` message about it
/// goes into the digest, so the digest of the next such change is another one.
pub(super) fn announcement(host: &str, state: State, last: u64, line: String, fields: Pairs) -> Announcement {
    let word = state.word();
    let once = digest_of(&[HOST_STATE_EVENT.as_bytes(), host.as_bytes(), word.as_bytes(), &last.to_be_bytes()]);
    let (key, status) = (host.to_owned(), word.to_owned());
    Announcement { message: Message { key, status, ..message(HOST_STATE_EVENT, host, line, fields) }, once: Some(once) }
}

pub(super) fn message(event: &'static str, host: &str, message: String, fields: Pairs) -> Message {
    Message { event: Cow::Borrowed(event), name: host.to_owned(), message, fields, ..Message::default() }
}

#[cfg(test)]
mod tests {
    use crate::hosts::beat::Report;
    use crate::hosts::story::Happens::{Beats, Fails, Nothing, Restarts, Says, Starts};
    use crate::hosts::story::{Servers, check};

    #[test]
    fn a_host_may_be_overdue_for_its_grace() {
        check(
            &[(0, Beats("every=86400&grace=900")), (91_000, Nothing)],
            &[
                "0: web1 is up",
                "87300: web1 is late: last heard 1 d ago",
                "90000: web1 is down: last heard 1 d 1 h ago",
            ],
        );
        check(
            &[(0, Beats("every=60")), (60, Beats("grace=0")), (120, Beats("")), (182, Nothing)],
            &["0: web1 is up", "60: web1 now beats every 60 s, 1 s of grace", "181: web1 is late: last heard 61 s ago"],
        );
        check(&[(0, Beats("every=60")), (9, Beats("every=20"))], &["0: web1 is up", "9: web1 now beats every 20 s"]);
        check(&[(0, Beats("every=60")), (9, Beats("")), (70, Beats("every=60"))], &["0: web1 is up"]);
    }

    #[test]
    fn a_job_that_has_failed_lives() {
        check(
            &[
                (0, Beats("exit=0&status=ok")),
                (30, Beats("exit=2")),
                (60, Beats("exit=2%0A")),
                (90, Beats("exit=0")),
                (100, Beats("status=down&note=no+link")),
                (110, Fails("")),
                (130, Beats("")),
                (140, Fails("message=first%0A%1B[31mlast%0A%0A")),
                (150, Nothing),
                (231, Nothing),
            ],
            &[
                "0: web1 is up",
                "30: web1 has failed: exit 2",
                "90: web1 is well again after 60 s",
                "100: web1 has failed: down, no link",
                "130: web1 is well again after 30 s",
                "140: web1 has failed:  [31mlast",
                "230: web1 is down: last heard 90 s ago",
            ],
        );
        check(&[(0, Beats("exit=1"))], &["0: web1 has failed: exit 1"]);
        check(&[(0, Beats("exit=0.0")), (9, Beats("exit=1.0"))], &["0: web1 is up", "9: web1 has failed: exit 1.0"]);
        check(&[(0, Fails("message=why&exit=3"))], &["0: web1 has failed: exit 3, why"]);
        check(&[(0, Fails("exit=3 rsync: a failed"))], &["0: web1 has failed: exit 3 rsync: a failed"]);
        check(
            &[(0, Beats("exit=+0%0A")), (9, Beats("exit=KILL"))],
            &["0: web1 is up", "9: web1 has failed: exit KILL"],
        );
    }

    #[test]
    fn a_change_of_a_job_that_has_failed_says_so() {
        check(
            &[(0, Fails("reason=x")), (9, Beats("exit=1&every=60&up=9")), (20, Beats("exit=1&up=3"))],
            &[
                "0: web1 has failed: x",
                "9: web1 now beats every 60 s, and has failed: exit 1",
                "20: web1 has rebooted, and has failed: exit 1",
            ],
        );
        let mut servers = Servers::new(1);
        servers.report(0, 0, "job", Report::Fail, "message=why");
        servers.report(0, 1, "job", Report::Start, "every=60");
        assert_eq!(servers.said[1], "1: job now beats every 60 s, and has failed: why");
        servers.restart(9);
        assert_eq!(servers.each[0].list(servers.at(9))[0].reason(), Some("why"));
    }

    #[test]
    fn the_end_of_a_run_is_said_with_its_length() {
        check(
            &[
                (0, Starts),
                (123, Beats("exit=0&every=500")),
                (200, Beats("")),
                (300, Starts),
                (310, Beats("")),
                (400, Starts),
                (523, Beats("exit=1")),
                (600, Starts),
                (601, Fails("note=no+disk")),
                (700, Starts),
                (706, Beats("exit=0")),
            ],
            &[
                "0: web1 is up",
                "45: web1 is late: last heard 45 s ago",
                "90: web1 is down: last heard 90 s ago",
                "123: web1 done in 2 min 3 s",
                "310: web1 done in 10 s",
                "523: web1 failed after 2 min 3 s: exit 1",
                "601: web1 failed after 1 s: no disk",
                "706: web1 done in 6 s",
            ],
        );
        let mut servers = Servers::new(1);
        servers.report(0, 0, "job", Report::Start, "");
        servers.report(0, 5, "job", Report::Fail, "message=a%0Ab");
        let said = servers.things.all().next().unwrap().message.clone();
        let fields: Vec<_> = said.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(fields, ["state=failed", "every=30", "seconds=5", "reason=a\nb"]);
        assert_eq!((said.key.as_str(), said.status.as_str()), ("job", "failed"));
    }

    #[test]
    fn after_a_restart_silence_counts_from_the_start_and_what_was_down_is_down() {
        check(
            &[(0, Beats("every=10&grace=10")), (8, Beats("")), (9, Restarts), (90, Nothing)],
            &[
                "0: web1 is up",
                "29: web1 is late: last heard at least 20 s ago",
                "59: web1 is down: last heard at least 50 s ago",
            ],
        );
        check(&[(0, Beats("every=10")), (9, Restarts), (20, Beats("every=10")), (30, Nothing)], &["0: web1 is up"]);
        let down = ["0: web1 is up", "15: web1 is late: last heard 15 s ago", "30: web1 is down: last heard 30 s ago"];
        let up = "1000: web1 is up again after 16 min 40 s";
        check(
            &[(0, Beats("every=10")), (40, Restarts), (500, Restarts), (1000, Beats(""))],
            &[&down[..], &[up]].concat(),
        );
        check(
            &[(0, Beats("every=10")), (20, Restarts), (51, Nothing)],
            &[&down[..2], &["50: web1 is down: last heard 50 s ago"]].concat(),
        );
        check(
            &[(0, Fails("reason=x")), (20, Restarts), (30, Beats("")), (31, Nothing)],
            &["0: web1 has failed: x", "30: web1 is well again after 30 s"],
        );
        let mut servers = Servers::new(1);
        servers.report(0, 0, "job", Report::Fail, "message=why");
        servers.restart(9);
        assert_eq!(servers.each[0].list(servers.at(9))[0].reason(), Some("why"));
    }

    #[test]
    fn a_word_that_somebody_says_with_the_key_of_a_host_changes_nothing_about_the_host() {
        let (up, late) = ("0: web1 is up", "15: web1 is late: last heard 15 s ago");
        let down = "30: web1 is down: last heard 30 s ago";
        check(
            &[(0, Beats("every=10")), (32, Says("seen")), (33, Says("ok")), (40, Restarts), (50, Beats(""))],
            &[up, late, down, "50: web1 is up again after 50 s"],
        );
        check(&[(0, Beats("every=10")), (20, Says("seen")), (31, Nothing), (32, Says("up"))], &[up, late, down]);
        check(
            &[(0, Beats("every=10")), (20, Says("seen")), (22, Restarts), (90, Nothing)],
            &[up, late, "52: web1 is down: last heard 52 s ago"],
        );
        let late_after = "24: web1 is late: last heard at least 15 s ago";
        check(&[(0, Beats("every=10")), (5, Says("seen")), (9, Restarts), (25, Nothing)], &[up, late_after]);
        check(
            &[(0, Fails("reason=x")), (10, Says("seen")), (20, Restarts), (30, Beats(""))],
            &["0: web1 has failed: x", "30: web1 is well again after 30 s"],
        );
        check(&[(0, Beats("")), (1, Says("gone")), (99, Nothing)], &[up]);
    }

    #[test]
    fn a_host_that_flaps_is_said_once_to_flap_until_it_is_stable() {
        let mut servers = Servers::new(3);
        for second in 0..=1000 {
            servers.tick(second);
            // It is late every 40 seconds.
            if second % 40 == 0 && second < 320 {
                servers.report(second as usize % 3, second, "web1", Report::Beat, "every=10&grace=5");
            }
        }
        let said: Vec<_> = servers.said.iter().map(String::as_str).collect();
        let expected = [
            "0: web1 is up",
            "15: web1 is late: last heard 15 s ago",
            "30: web1 is down: last heard 30 s ago",
            "40: web1 is up again after 40 s",
            "55: web1 is late: last heard 15 s ago",
            "70: web1 is down: last heard 30 s ago",
            "80: web1 is up again after 40 s",
            "95: web1 flaps: 7 changes in 10 min; not said until it is stable",
            "870: web1 is stable again: down",
        ];
        assert_eq!(said, expected);
        assert!(servers.things.all().all(|thing| thing.message.status == "down"), "but it is known");
    }
}
