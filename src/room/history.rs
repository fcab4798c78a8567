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
#[derive(Default)]
pub struct History {
    kept: VecDeque<Kept>,
    /// The latest moment at which the last forgotten message can have been said; 0 if there is none.
    forgotten_at: u64,
    /// The ids of messages that are not kept though older ones are: they were only passed on, or superseded. `None` if
    /// ids that were given elsewhere have to be taken as they are. Else such ids count as from before a restart.
    pub(super) passed: Option<VecDeque<u64>>,
    /// The ids of kept messages that a newer word on their thing has superseded. If they lie in the older half, they go
    /// first.
    superseded: BTreeSet<u64>,
    /// The ids of messages that went since they were last [taken](History::take_dropped), for a store that deletes
    /// them; `None` if nobody takes them.
    pub(super) dropped: Option<Vec<u64>>,
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

/// A message that is kept.
struct Kept {
    message: Arc<Message>,
    /// When it was said, in microseconds by the clock of this process; never before the one that is older.
    said_at: u64,
}

impl History {
    /// Makes a history that keeps at most `most_messages` messages of at most `most_bytes` together; zero of either
    /// keeps none. It goes on after a restart with what a store kept, `past`, as far as the bounds allow, and answers
    /// for everything said after its beginning.
    pub fn resume(most_messages: usize, most_bytes: usize, past: Restored) -> History {
        let Restored { begun, .. } = past;
        let by_kind = Forgotten::all_up_to(past.forgotten);
        let dropped = Some(vec![]);
        let mut history = History { most_messages, most_bytes, begun, by_kind, dropped, ..History::default() };
        past.gone.iter().for_each(|(channel, event, id)| history.by_kind.add(channel, event, *id));
        // A message that is gone from before the oldest kept one has gone as the oldest.
        let oldest = past.messages.first().map_or(u64::MAX, |message| message.id);
        let gone = past.gone.iter().map(|(_, _, id)| *id).filter(|id| *id < oldest).max().unwrap_or(0);
        history.forgotten = past.forgotten.max(gone).min(oldest - 1);
        let moments = moments(&past.messages, now_micros());
        if history.forgotten > begun {
            let latest = moments.first().copied().unwrap_or_else(now_micros);
            history.forgotten_at = if history.forgotten < NEVER_SET { latest } else { latest.min(history.forgotten) };
        }
        for (message, said_at) in past.messages.into_iter().zip(moments) {
            history.keep_at(message, said_at, None);
        }
        history.newest = history.newest.max(past.last);
        history
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
        self.kept.push_back(Kept { message, said_at });
        let superseded = superseded.filter(|id| self.knows(*id));
        self.superseded.extend(superseded);
        while self.kept.len() > self.most_messages || self.bytes > self.most_bytes {
            let place = self.oldest_superseded().unwrap_or(0);
            let Some(Kept { message: gone, said_at }) = self.kept.remove(place) else { break };
            self.bytes -= gone.weight();
            self.superseded.remove(&gone.id);
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

    /// The place of the oldest message that is superseded, if it lies in the older half.
    fn oldest_superseded(&self) -> Option<usize> {
        let place = self.place_after(self.superseded.first()? - 1);
        (place < self.kept.len() / 2).then_some(place)
    }

    /// The place of the first message after the id `id`.
    fn place_after(&self, id: u64) -> usize {
        self.kept.partition_point(|kept| kept.message.id <= id)
    }

    /// Whether it has the message of this `id`.
    pub fn knows(&self, id: u64) -> bool {
        self.kept.binary_search_by_key(&id, |kept| kept.message.id).is_ok()
    }

    /// Forgets everything up to the id `last`, which it may never have had.
    pub fn forget(&mut self, last: u64) {
        let lost = self.kept.drain(..self.place_after(last));
        self.bytes -= lost.map(|lost| lost.message.weight()).sum::<usize>();
        self.superseded.retain(|id| *id > last);
        (self.forgotten, self.forgotten_at) = (self.forgotten.max(last), now_micros());
        self.by_kind = Forgotten::all_up_to(self.forgotten);
    }

    /// How many messages are kept, and how many bytes they weigh.
    pub fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
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
        let misses = |after: u64| self.by_kind.may_miss(after, |channel, event| wants.takes_kind(channel, event));
        let (start, mut after, mut is_gap) = match since.point {
            Point::Oldest => (0, 0, false),
            Point::After(id) if id > self.newest || !self.may_have_given(id) => (0, id, true),
            Point::After(id) => (self.place_after(id), id, misses(id)),
            Point::Ago(age) => {
                let moment = now.saturating_sub(micros(age));
                let start = self.kept.partition_point(|kept| kept.said_at <= moment);
                let after = start.checked_sub(1).map_or(self.forgotten, |place| self.kept[place].message.id);
                // Forgotten messages are known by id, not by the moment they were said. So any of them may have been
                // asked for.
                match moment < self.forgotten_at {
                    true => (0, moment.clamp(self.begun.min(self.forgotten - 1), self.forgotten - 1), true),
                    false => (start, after, misses(after)),
                }
            }
        };
        let wanted = self.kept.range(start..).rev().map(|kept| &kept.message).filter(|message| wants.takes(message));
        let messages: Vec<_> = wanted.take(since.most).cloned().collect();
        if since.point == Point::Oldest && since.most != usize::MAX {
            // The client asked for the newest N. Some may be missing among them; if they are fewer, also before them.
            let oldest = || messages.last().map_or(self.newest, |message| message.id);
            after = if messages.len() == since.most { oldest() } else { self.begun };
            is_gap = misses(after);
        }
        Replay { gap: is_gap.then(|| Gap { after, oldest: self.kept.front().map(|kept| kept.message.id) }), messages }
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
