//! The newest messages, kept in memory for listeners that come later. Bounded by count and by bytes: the oldest goes
//! first.
//!
//! A listener that comes back with the id it heard last gets the messages said since. If some of them are gone, or may
//! be, it is told so first ([`Gap`]) and gets the rest. The id alone shows that:
//!
//! * It is older than the newest forgotten message that the listener wants: the messages in between are gone.
//! * It is older than this history, so from before a restart: messages said then and not heard are gone. Nobody knows
//!   whether there were any; the listener is told all the same.
//! * It is newer than the newest message: it is from before a restart too, and from a clock that has been set back
//!   since. All that is kept was said after it was heard.
//! * It is none of the ids that were given here: it is from before a restart, after which the clock was set back and
//!   has come by that time again. A machine without a clock begins each time in the same year. With a store
//!   ([`Restored`]) there is no such case: ids go on where they stopped.
//!
//! A request for the last ten minutes means just that, whatever the clock said then. So each message is kept with the
//! moment it was said by the clock of this process, which never jumps ([`crate::clock`]). For messages from before a
//! restart, that moment is only as good as their times.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::{micros, now_micros};
use crate::room::forgotten::Forgotten;
use crate::room::message::Message;
use crate::room::replay::{Gap, Point, Replay, Restored, Since};
use crate::room::subscription::Subscription;

/// January 2026, in microseconds since 1970, before this was written. A clock that says an earlier time was never set.
const NEVER_SET: u64 = 1_767_225_600_000_000;

/// The most ids known of messages that were only passed on, not kept. A listener that hears nothing but beats and was
/// away for more of them is told of a gap that may be none.
const MOST_PASSED: usize = 16_384;

/// The newest messages, oldest first. The hub's lock guards it, so the kept messages and the heard ones never disagree.
pub struct History {
    messages: VecDeque<Arc<Message>>,
    /// When each of them was said, in microseconds; never falling.
    moments: VecDeque<u64>,
    /// The latest moment at which the last forgotten message can have been said; 0 if there is none.
    forgotten_at: u64,
    /// The ids of messages that are not kept though older ones are: they were only passed on, or superseded. `None` if
    /// ids that were given elsewhere have to be taken as they are.
    passed: Option<VecDeque<u64>>,
    /// The ids of kept messages that a newer word on their thing has superseded. They go first.
    superseded: VecDeque<u64>,
    /// The ids of messages that went since they were last [taken](History::take_dropped); `None` if nobody takes them.
    dropped: Option<Vec<u64>>,
    bytes: usize,
    most_messages: usize,
    most_bytes: usize,
    /// The time at which it began, as an id. All ids it was ever given are larger.
    begun: u64,
    /// The newest id up to which it has nothing: the id of the last message that went as the oldest, at first `begun`.
    forgotten: u64,
    /// The forgotten messages, by channel and event.
    by_kind: Forgotten,
    /// The newest id there was: kept, forgotten, or only passed on.
    newest: u64,
}

impl History {
    /// Makes an empty history that keeps at most `most_messages` messages of at most `most_bytes` together; zero of
    /// either keeps none. It answers for everything said after `begun`, an id.
    pub fn new(most_messages: usize, most_bytes: usize, begun: u64) -> History {
        History {
            messages: VecDeque::new(),
            moments: VecDeque::new(),
            forgotten_at: 0,
            passed: None,
            superseded: VecDeque::new(),
            dropped: None,
            bytes: 0,
            most_messages,
            most_bytes,
            begun,
            forgotten: begun,
            by_kind: Forgotten::all_up_to(begun),
            newest: begun,
        }
    }

    /// Makes a history that goes on after a restart with what a store kept, as far as the bounds allow. `tell_dropped`
    /// makes it note the ids of what goes, for a store that deletes them.
    pub fn resume(most_messages: usize, most_bytes: usize, past: Restored, tell_dropped: bool) -> History {
        let mut history = History::new(most_messages, most_bytes, past.begun);
        history.dropped = tell_dropped.then(Vec::new);
        history.by_kind = Forgotten::all_up_to(past.forgotten);
        past.gone.iter().for_each(|(channel, event, id)| history.by_kind.add(channel, event, *id));
        // A message that is gone from before the oldest kept one has gone as the oldest.
        let oldest = past.messages.first().map_or(u64::MAX, |message| message.id);
        let gone = past.gone.iter().map(|(_, _, id)| *id).filter(|id| *id < oldest).max().unwrap_or(0);
        history.forgotten = past.forgotten.max(gone);
        let moments = moments(&past.messages, now_micros());
        if history.forgotten > past.begun {
            let latest = moments.first().copied().unwrap_or_else(now_micros);
            history.forgotten_at = if history.forgotten < NEVER_SET { latest } else { latest.min(history.forgotten) };
        }
        for (message, said_at) in past.messages.into_iter().zip(moments) {
            history.keep_at(message, said_at, None);
        }
        history.newest = history.newest.max(past.last);
        history
    }

    /// Makes ids that were not given here count as from before a restart. All that are given from now on are known.
    pub fn know_ids(&mut self) {
        self.passed = Some(VecDeque::new());
    }

    /// The ids of the messages that went since the last call.
    pub fn take_dropped(&mut self) -> Vec<u64> {
        self.dropped.as_mut().map_or(vec![], std::mem::take)
    }

    /// Keeps a message that was said here: its moment is its time.
    #[cfg(test)]
    pub fn keep(&mut self, message: Arc<Message>) {
        let said_at = message.time;
        self.keep_at(message, said_at, None);
    }

    /// Keeps `message` as the newest, said at `said_at` by the clock of this process, then forgets until both bounds
    /// hold: first what is `superseded`, then the oldest. A message that is [not kept](Message::is_kept) is only passed
    /// on. Its id is known as one of ours, so a listener that heard it last has missed nothing.
    pub fn keep_at(&mut self, message: Arc<Message>, said_at: u64, superseded: Option<u64>) {
        self.newest = message.id;
        if !message.is_kept() {
            self.pass(message.id);
            return;
        }
        self.bytes += message.weight();
        self.messages.push_back(message);
        self.moments.push_back(said_at);
        self.superseded.extend(superseded);
        while self.messages.len() > self.most_messages || self.bytes > self.most_bytes {
            let place = self.next_superseded().unwrap_or(0);
            let Some((gone, said_at)) = self.messages.remove(place).zip(self.moments.remove(place)) else { break };
            self.bytes -= gone.weight();
            self.by_kind.add(&gone.channel, &gone.event, gone.id);
            match place {
                0 => (self.forgotten, self.forgotten_at) = (gone.id, said_at),
                _ => self.pass(gone.id),
            }
            self.dropped.iter_mut().for_each(|dropped| dropped.push(gone.id));
        }
    }

    /// Notes the id of a message that is not kept.
    fn pass(&mut self, id: u64) {
        if let Some(passed) = &mut self.passed {
            if passed.len() == MOST_PASSED {
                passed.pop_front();
            }
            passed.insert(passed.partition_point(|known| *known < id), id);
        }
    }

    /// The place of a kept message that is superseded.
    fn next_superseded(&mut self) -> Option<usize> {
        while let Some(id) = self.superseded.pop_front() {
            if let Ok(place) = self.messages.binary_search_by_key(&id, |message| message.id) {
                return Some(place);
            }
        }
        None
    }

    /// Whether it has the message of this `id`.
    pub fn knows(&self, id: u64) -> bool {
        self.messages.binary_search_by_key(&id, |message| message.id).is_ok()
    }

    /// Forgets everything up to the id `last`, which it may never have had.
    pub fn forget(&mut self, last: u64) {
        let lost = self.messages.partition_point(|message| message.id <= last);
        self.bytes -= self.messages.drain(..lost).map(|message| message.weight()).sum::<usize>();
        self.moments.drain(..lost);
        self.superseded.retain(|id| *id > last);
        (self.forgotten, self.forgotten_at) = (self.forgotten.max(last), now_micros());
        self.by_kind = Forgotten::all_up_to(self.forgotten);
    }

    /// How many messages are kept, and how many bytes they weigh.
    pub fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// The id after which all messages were said after `moment`. It is before the forgotten messages only if one of
    /// them was said since.
    fn id_at(&self, moment: u64) -> u64 {
        if moment < self.forgotten_at {
            return moment.clamp(self.begun.min(self.forgotten - 1), self.forgotten - 1);
        }
        match self.moments.partition_point(|said_at| *said_at <= moment).checked_sub(1) {
            Some(place) => self.messages[place].id,
            None => self.forgotten,
        }
    }

    /// Whether `id` may be one that was given here.
    fn may_have_given(&self, id: u64) -> bool {
        let Some(passed) = &self.passed else { return true };
        id == self.forgotten || self.by_kind.holds(id) || self.knows(id) || passed.binary_search(&id).is_ok()
    }

    /// The kept messages from `since` on that `wants` takes. `now` is in microseconds since 1970. Shares the messages;
    /// takes a few nanoseconds for each that it looks at. Of those that are gone only the kind is known: a gap may be
    /// told although none of them had a status that is wanted.
    pub fn replay(&self, since: Since, now: u64, wants: &Subscription) -> Replay {
        let (after, is_foreign) = match since.point {
            Point::Now => return Replay::default(),
            Point::After(id) => (id, id > self.newest || !self.may_have_given(id)),
            Point::Ago(age) => (self.id_at(now.saturating_sub(micros(age))), false),
            Point::Oldest => (self.forgotten, false),
        };
        // Forgotten messages are known by id, not by the moment they were said. So for an age, any of them may have
        // been asked for.
        let is_gap = match since.point {
            Point::Oldest => false,
            Point::Ago(_) if after < self.forgotten => true,
            _ => is_foreign || self.by_kind.may_miss(after, |channel, event| wants.takes_kind(channel, event)),
        };
        let start = if is_foreign { 0 } else { self.messages.partition_point(|message| message.id <= after) };
        let wanted = self.messages.range(start..).rev().filter(|message| wants.takes(message));
        Replay {
            gap: is_gap.then(|| Gap { after, oldest: self.messages.front().map(|message| message.id) }),
            messages: wanted.take(since.most).cloned().collect(),
        }
    }
}

/// The moments at which `messages` were said, by the clock of this process, which says `now`. A message's time is
/// believed unless it lies ahead of `now`, before that of an older message, or in years when no clock was set. Then the
/// message counts as said when the next one was, or just now. So it may seem younger than it is, never older.
fn moments(messages: &[Arc<Message>], now: u64) -> Vec<u64> {
    let mut newest = NEVER_SET;
    let mut moments: Vec<u64> = messages.iter().map(|message| message.time).collect();
    for time in &mut moments {
        match (newest..=now).contains(time) {
            true => newest = *time,
            false => *time = u64::MAX,
        }
    }
    moments.iter_mut().rev().fold(now, |next, moment| {
        *moment = next.min(*moment);
        *moment
    });
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::room::message::HOST_EVENT;
    use crate::room::subscription::Events;
    use std::borrow::Cow;
    use std::time::Duration;

    /// Began at 100.
    fn history(most_messages: usize, most_bytes: usize) -> History {
        History::new(most_messages, most_bytes, 100)
    }

    fn message(id: u64, text: &str) -> Arc<Message> {
        Arc::new(Message {
            id,
            time: id,
            event: Cow::Borrowed("message"),
            channel: if text == "for somebody else" { "elsewhere" } else { "here" }.to_owned(),
            message: text.to_owned(),
            ..Message::default()
        })
    }

    fn ids(history: &History) -> Vec<u64> {
        replayed(history, Since::OLDEST).1
    }

    fn on(channel: &str) -> Subscription {
        Subscription { channels: channel.to_owned(), ..Subscription::default() }
    }

    /// The replay at the time 1000: the gap, as the id asked for and the oldest; and the messages, oldest first.
    fn replayed(history: &History, since: Since) -> (Option<(u64, Option<u64>)>, Vec<u64>) {
        let replay = history.replay(since, 1000, &on("here"));
        let ids = replay.messages.iter().rev().map(|message| message.id).collect();
        (replay.gap.map(|gap| (gap.after, gap.oldest)), ids)
    }

    fn after(id: u64) -> Since {
        Since { point: Point::After(id), most: usize::MAX }
    }

    #[test]
    fn the_oldest_goes_when_the_count_is_reached() {
        let mut history = history(3, usize::MAX);
        (101..=105).for_each(|id| history.keep(message(id, "x")));
        assert_eq!(ids(&history), [103, 104, 105]);
    }

    #[test]
    fn the_oldest_goes_when_the_bytes_are_reached() {
        let one = message(1, &"x".repeat(1000)).weight();
        let mut history = history(100, 3 * one);
        (101..=105).for_each(|id| history.keep(message(id, &"x".repeat(1000))));
        assert_eq!(ids(&history), [103, 104, 105]);
        history.keep(message(106, &"x".repeat(2000)));
        assert_eq!(ids(&history), [105, 106], "a heavy one pushes out two");
        history.keep(message(107, &"x".repeat(4000)));
        assert_eq!(ids(&history), [0u64; 0], "one that is too heavy pushes out all and itself");
        assert_eq!(replayed(&history, after(106)), (Some((106, None)), vec![]));
        assert_eq!(replayed(&history, after(107)), (None, vec![]));
    }

    #[test]
    fn zero_keeps_nothing() {
        let mut history = history(0, 1_000_000);
        history.keep(message(101, "x"));
        assert_eq!(ids(&history), [0u64; 0]);
        assert_eq!(history.bytes, 0);
    }

    #[test]
    fn what_is_superseded_goes_first_and_only_those_are_told_of_a_gap_who_wanted_it() {
        let past = Restored { begun: 100, forgotten: 100, last: 100, ..Restored::default() };
        let mut history = History::resume(4, usize::MAX, past, true);
        history.know_ids();
        let state = |id: u64| Arc::new(Message { event: "host-state".into(), ..Message::clone(&message(id, "x")) });
        history.keep(message(110, "x"));
        history.keep(state(120));
        history.keep_at(state(130), 130, Some(120));
        history.keep_at(state(140), 140, Some(130));
        assert_eq!(ids(&history), [110, 120, 130, 140], "as long as there is room, all is kept");
        history.keep(message(150, "x"));
        history.keep(message(160, "x"));
        assert_eq!(ids(&history), [110, 140, 150, 160], "the oldest stays");
        let replay = |after: u64, event: &str| {
            let point = Since { point: Point::After(after), most: usize::MAX };
            let wants = Subscription { events: Events::Only(vec![event.to_owned()]), ..on("") };
            let replay = history.replay(point, 1000, &wants);
            let ids: Vec<_> = replay.messages.iter().rev().map(|message| message.id).collect();
            (replay.gap.is_some(), ids)
        };
        assert_eq!(replay(110, "message"), (false, vec![150, 160]));
        assert_eq!(replay(110, "host-state"), (true, vec![140]));
        assert_eq!(replay(120, "host-state"), (true, vec![140]));
        assert_eq!(replay(130, "host-state"), (false, vec![140]), "heard before it went");
        history.keep(message(170, "x"));
        assert_eq!((ids(&history), history.take_dropped()), (vec![140, 150, 160, 170], vec![120, 130, 110]));
    }

    #[test]
    fn what_is_lost_elsewhere_is_a_gap_here() {
        let mut history = history(10, usize::MAX);
        [200, 210].into_iter().for_each(|id| history.keep(message(id, "x")));
        history.forget(250);
        history.keep(message(260, "x"));
        assert_eq!(replayed(&history, after(210)), (Some((210, Some(260))), vec![260]));
        assert_eq!(replayed(&history, after(250)), (None, vec![260]));
        assert_eq!(history.size(), (1, message(260, "x").weight()));
    }

    #[test]
    fn a_beat_passes_and_who_heard_it_last_has_missed_nothing() {
        let beat = |id: u64| Arc::new(Message { event: Cow::Borrowed(HOST_EVENT), ..Message::clone(&message(id, "")) });
        let messages = vec![beat(200), message(210, "x"), beat(220)];
        let past = Restored { begun: 100, forgotten: 100, last: 230, messages, ..Restored::default() };
        let mut history = History::resume(10, usize::MAX, past, false);
        assert_eq!(ids(&history), [210]);
        assert_eq!(replayed(&history, after(220)), (None, vec![]));
        assert_eq!(replayed(&history, after(230)), (None, vec![]), "the newest before a restart");
        assert_eq!(replayed(&history, after(231)), (Some((231, Some(210))), vec![210]));
        history.keep(beat(240));
        assert_eq!(replayed(&history, after(240)), (None, vec![]));
        assert_eq!(history.size().0, 1);
    }

    #[test]
    fn it_goes_on_where_a_store_has_stopped() {
        let past = || Restored {
            begun: 100,
            forgotten: 200,
            last: 240,
            messages: (210..=240).step_by(10).map(|id| message(id, "x")).collect(),
            ..Restored::default()
        };
        let history = History::resume(10, usize::MAX, past(), false);
        assert_eq!(replayed(&history, after(200)), (None, vec![210, 220, 230, 240]), "no gap that is none");
        assert_eq!(replayed(&history, after(240)), (None, vec![]));
        assert_eq!(replayed(&history, after(199)), (Some((199, Some(210))), vec![210, 220, 230, 240]));
        let smaller = History::resume(2, usize::MAX, past(), false);
        assert_eq!(replayed(&smaller, after(210)), (Some((210, Some(230))), vec![230, 240]));
        let gone = vec![("here".to_owned(), "message".to_owned(), 220)];
        let told = History::resume(10, usize::MAX, Restored { gone, ..past() }, false);
        assert_eq!(replayed(&told, after(210)).0, Some((210, Some(210))), "as was noted before the restart");
    }

    #[test]
    fn what_is_replayed_and_where_a_gap_is_told() {
        let mut history = history(4, usize::MAX);
        let check = |history: &History, since: Since, gap: Option<(u64, Option<u64>)>, ids: &[u64]| {
            assert_eq!(replayed(history, since), (gap, ids.to_vec()), "{since:?}");
        };
        let ago = |micros: u64| Since { point: Point::Ago(Duration::from_micros(micros)), most: usize::MAX };

        // Nothing was said yet.
        check(&history, Since::NOW, None, &[]);
        check(&history, Since::OLDEST, None, &[]);
        check(&history, after(99), Some((99, None)), &[]);
        check(&history, after(100), None, &[]);
        check(&history, after(101), Some((101, None)), &[]);
        check(&history, ago(5000), None, &[]);
        check(&history, ago(0), None, &[]);

        // Everything is kept.
        [200, 210, 220].into_iter().for_each(|id| history.keep(message(id, "x")));
        check(&history, Since::NOW, None, &[]);
        check(&history, Since::OLDEST, None, &[200, 210, 220]);
        check(&history, after(99), Some((99, Some(200))), &[200, 210, 220]);
        check(&history, after(100), None, &[200, 210, 220]);
        check(&history, after(200), None, &[210, 220]);
        check(&history, after(205), None, &[210, 220]);
        check(&history, after(220), None, &[]);
        check(&history, after(221), Some((221, Some(200))), &[200, 210, 220]);
        check(&history, after(u64::MAX), Some((u64::MAX, Some(200))), &[200, 210, 220]);
        check(&history, ago(5000), None, &[200, 210, 220]);
        check(&history, ago(785), None, &[220]);
        check(&history, ago(0), None, &[]);

        // 200 and 210 are let go of.
        [230, 240, 250].into_iter().for_each(|id| history.keep(message(id, "x")));
        check(&history, Since::OLDEST, None, &[220, 230, 240, 250]);
        check(&history, after(200), Some((200, Some(220))), &[220, 230, 240, 250]);
        check(&history, after(210), None, &[220, 230, 240, 250]);
        check(&history, after(240), None, &[250]);
        check(&history, ago(795), Some((205, Some(220))), &[220, 230, 240, 250]);
        check(&history, ago(785), None, &[220, 230, 240, 250]);

        // The newest so many, and only wanted ones.
        history.keep(message(260, "for somebody else"));
        check(&history, Since { most: 2, ..Since::OLDEST }, None, &[240, 250]);
        check(&history, Since { most: 0, ..Since::OLDEST }, None, &[]);
        check(&history, Since { most: 1, ..after(230) }, None, &[250]);
        check(&history, after(200), Some((200, Some(230))), &[230, 240, 250]);
        check(&history, after(250), None, &[]);
    }

    /// A plausible time, so many minutes later.
    fn at(minutes: u64) -> u64 {
        NEVER_SET + 60_000_000 * (1_000_000 + minutes)
    }

    #[test]
    fn what_was_kept_before_is_as_old_as_its_times_tell_and_never_older() {
        // In minutes: the times, 9999 for one of 1970; now; and when each was said.
        let check = |times: &[u64], now: u64, expected: &[u64]| {
            let time = |minutes: u64| if minutes == 9999 { 1_000_000 } else { at(minutes) };
            let messages: Vec<_> = (1..)
                .zip(times)
                .map(|(id, time_of)| Arc::new(Message { time: time(*time_of), ..Message::clone(&message(id, "")) }))
                .collect();
            let said: Vec<_> = expected.iter().map(|minutes| at(*minutes)).collect();
            assert_eq!(moments(&messages, at(now)), said, "{times:?} at {now}");
        };
        check(&[], 100, &[]);
        check(&[10, 20, 20, 30], 100, &[10, 20, 20, 30]);
        check(&[10, 5000, 5001], 100, &[10, 100, 100]); // the clock was ahead, and was set right
        check(&[10, 5000, 30], 100, &[10, 30, 30]);
        check(&[10, 9999, 9999], 100, &[10, 100, 100]); // there was no clock
        check(&[9999, 9999, 20], 100, &[20, 20, 20]);
        check(&[50, 20, 60], 100, &[50, 60, 60]); // one of the two was wrong
        let now_there_is_no_clock = moments(&[message(at(10), "")], 1_000_000);
        assert_eq!(now_there_is_no_clock, [1_000_000]);
    }

    #[test]
    fn a_gap_is_told_where_something_so_young_is_gone_though_its_id_is_old() {
        let mut history = history(1, usize::MAX);
        history.keep_at(message(200, "for somebody else"), 900, None); // an id of another machine's clock
        history.keep_at(message(210, "x"), 950, None);
        let since = |micros: u64| Since { point: Point::Ago(Duration::from_micros(micros)), most: usize::MAX };
        let gap = |since: Since| history.replay(since, 1000, &on("elsewhere")).gap.is_some();
        assert!(gap(since(200)) && !gap(since(60)) && !gap(after(200)));
    }

    #[test]
    fn what_was_said_so_long_ago_is_found_whatever_the_clock_said_then() {
        let said = |id: u64, time: u64| Arc::new(Message { time, ..Message::clone(&message(id, "x")) });
        let check = |history: &History, minutes: u64, now: u64, gap: Option<u64>, expected: &[u64]| {
            let point = Point::Ago(Duration::from_secs(60 * minutes));
            let replay = history.replay(Since { point, most: usize::MAX }, now, &on(""));
            let ids: Vec<_> = replay.messages.iter().rev().map(|message| message.id).collect();
            assert_eq!((replay.gap.map(|gap| gap.after), ids), (gap, expected.to_vec()), "{minutes} minutes ago");
        };
        // Said two years ahead of today's clock, then today; ids go on from where they are.
        let (ahead, now) = (at(1_000_000), at(100));
        clock::set(Some(now));
        let messages = vec![said(ahead, ahead), said(ahead + 1, at(40))];
        let past = Restored { begun: at(0), forgotten: at(0), last: ahead + 1, messages, ..Restored::default() };
        let mut history = History::resume(3, usize::MAX, past, false);
        history.keep(said(ahead + 2, at(120)));
        check(&history, 10, at(125), None, &[ahead + 2]);
        check(&history, 10, at(131), None, &[]);
        check(&history, 86, at(125), None, &[ahead, ahead + 1, ahead + 2]);

        // The oldest is forgotten; a client that asks for a time before it is told.
        history.keep(said(ahead + 3, at(130)));
        check(&history, 10, at(131), None, &[ahead + 3]);
        check(&history, 90, at(129), Some(at(39)), &[ahead + 1, ahead + 2, ahead + 3]);
        check(&history, 89, at(129), None, &[ahead + 2, ahead + 3]);

        // A store that was begun without a clock and has forgotten something, nobody knows when.
        clock::set(Some(at(0)));
        let past = Restored { begun: 10, forgotten: 20, last: 30, messages: vec![said(30, 30)], ..Restored::default() };
        let history = History::resume(3, usize::MAX, past, false);
        check(&history, 10, at(5), Some(19), &[30]);
        check(&history, 10, at(10), None, &[]);
        clock::set(None);
    }

    #[test]
    fn an_id_that_was_not_given_here_is_from_before_whatever_the_clock_says_since() {
        let mut history = history(3, usize::MAX);
        history.know_ids();
        let beat = |id: u64| Arc::new(Message { event: Cow::Borrowed(HOST_EVENT), ..Message::clone(&message(id, "")) });
        assert_eq!(replayed(&history, after(100)), (None, vec![]), "it began then");
        [message(200, "x"), beat(205), message(210, "x")].into_iter().for_each(|message| history.keep(message));
        for (id, rest) in [(200, vec![210]), (205, vec![210]), (210, vec![])] {
            assert_eq!(replayed(&history, after(id)), (None, rest), "{id}");
        }
        for id in [99, 101, 201, 206, 211] {
            assert_eq!(replayed(&history, after(id)), (Some((id, Some(200))), vec![200, 210]), "{id}");
        }
        history.keep(message(220, "x"));
        history.keep(message(230, "x"));
        assert_eq!(replayed(&history, after(200)), (None, vec![210, 220, 230]), "it was let go of last");
        (0..MOST_PASSED as u64).for_each(|more| history.keep(beat(1000 + more)));
        assert_eq!(replayed(&history, after(1000)), (None, vec![]));
        assert_eq!(history.passed.as_ref().unwrap().len(), MOST_PASSED, "a bounded number");
    }
}
