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

use std::collections::{BTreeSet, VecDeque};
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
    /// The ids of kept messages that a newer word on their thing has superseded. They go first, from the older half.
    superseded: BTreeSet<u64>,
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
            superseded: BTreeSet::new(),
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
        history.forgotten = past.forgotten.max(gone).min(oldest - 1);
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
    /// hold: first what is `superseded` in its older half, then the oldest. The newer half stays whole, so a listener
    /// that was away for a moment has missed nothing. A message that is [not kept](Message::is_kept) is only passed on.
    /// Its id is known as one of ours, so a listener that heard it last has missed nothing.
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
            let place = self.oldest_superseded().unwrap_or(0);
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

    /// The place of the oldest kept message that is superseded, if it lies in the older half.
    fn oldest_superseded(&mut self) -> Option<usize> {
        while let Some(id) = self.superseded.first() {
            match self.messages.binary_search_by_key(id, |message| message.id) {
                Ok(place) if place >= self.messages.len() / 2 => return None,
                Ok(place) => return self.superseded.pop_first().map(|_| place),
                Err(_) => self.superseded.pop_first(), // it has gone as the oldest
            };
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
mod tests;
