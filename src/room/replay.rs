//! Earlier messages: the point from which on a client asks for them, and the answer. And those that were kept
//! from before the process began.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::now_micros;
use crate::room::message::Message;

/// The earlier messages that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The point from which on.
    pub point: Point,
    /// The most messages after that point; the newest ones.
    pub most: usize,
}

/// A point in the order of all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Behind the message of this id.
    After(u64),
    /// So long ago, by the clock of this process.
    Ago(Duration),
    /// Before the oldest that is kept.
    Oldest,
}

impl Since {
    /// Everything that is kept.
    pub const OLDEST: Since = Since { point: Point::Oldest, most: usize::MAX };
}

/// The earlier messages that a client gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The gap to tell first, if not everything asked for is kept.
    pub gap: Option<Gap>,
    /// The kept messages, the newest first: they are taken from the end.
    pub messages: Vec<Arc<Message>>,
}

/// A hole: messages after the id asked for are not kept, or may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The id behind which messages may be missing: the one asked for, if it was an id.
    pub after: u64,
    /// The oldest id that is kept, on any channel; `None` if nothing is.
    pub oldest: Option<u64>,
}

impl Replay {
    /// Adds `more` messages in their order, and keeps the newest `most` of all.
    pub fn add<'a>(&mut self, more: impl Iterator<Item = &'a Arc<Message>>, most: usize) {
        self.messages.extend(more.cloned());
        self.messages.sort_by_key(|message| Reverse(message.id));
        self.messages.truncate(most);
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.gap.is_none() && self.messages.is_empty()
    }
}

/// The messages that a store kept from before the process began.
#[derive(Debug, Default)]
pub struct Restored {
    /// The time at which the store began, as an id. All ids it was ever given are larger.
    pub begun: u64,
    /// The newest id up to which anything may be gone; at first `begun`.
    pub forgotten: u64,
    /// The newest id that it was ever given; at first `begun`.
    pub last: u64,
    /// The messages it has, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// The newest id that is gone of a channel and an event, each.
    pub gone: Vec<(String, String, u64)>,
    /// The newest word on each thing and since when it stands so, the oldest first.
    pub things: Vec<(Arc<Message>, u64)>,
}

impl Restored {
    /// Nothing was kept: all begins now.
    pub fn nothing() -> Restored {
        let now = now_micros();
        Restored { begun: now, forgotten: now, last: now, ..Restored::default() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock;
    use crate::room::commit_queue::CommitQueue;
    use crate::room::frame::Format;
    use crate::room::hub::tests::{everything, hub};
    use crate::room::hub::{Hub, Limits};
    use crate::room::letterbox::Recipient;
    use crate::room::memory_wire::{MemoryWire, message};
    use crate::room::message::HOST_EVENT;
    use crate::room::subscription::{Events, Subscription};
    use crate::sync::{AtomicU64, Ordering};

    #[test]
    fn beats_are_heard_but_not_kept() {
        let hub = hub(10, 8);
        let mut beat = message("beat");
        beat.event = HOST_EVENT.into();
        hub.publish(beat.clone()).unwrap();
        hub.publish(message("said")).unwrap();
        let beat = hub.publish(beat).unwrap();
        let said = |since: Since| {
            let replay = hub.said(&Subscription { events: Events::All, ..Subscription::default() }, since);
            let kept: Vec<_> = replay.messages.iter().map(|message| message.message.clone()).collect();
            (replay.gap, kept)
        };
        assert_eq!(said(Since::OLDEST), (None, vec!["said".to_owned()]));
        let after_the_beat = Since { point: Point::After(beat.id), most: usize::MAX };
        assert_eq!(said(after_the_beat), (None, vec![]), "a listener that heard a beat last has missed nothing");
    }

    #[test]
    fn who_joins_with_the_id_it_heard_last_hears_the_rest_of_what_it_wants_and_then_what_is_said() {
        let hub = hub(10, 8);
        let on = |channel: &str, text: &str| hub.publish(Message { channel: channel.to_owned(), ..message(text) });
        let ids: Vec<u64> = (0..50).map(|number| on("a", &number.to_string()).unwrap().id).collect();
        on("b", "for somebody else").unwrap();
        let wire = MemoryWire::new(usize::MAX);
        let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], 8);
        let wants = Subscription { channels: "a".to_owned(), ..Subscription::default() };
        let since = |id: u64| Since { point: Point::After(id), most: usize::MAX };
        hub.join(wants.clone(), Some(since(ids[9])), recipient.letterbox()).unwrap();
        let live = on("a", "live").unwrap();
        assert_eq!(live.listeners, 1, "forty replayed ones do not fill a letterbox of eight");
        hub.lend_a_hand(live.listeners);
        let expected: String = (10..50).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(wire.text(), format!("{expected}live\r\n"));

        let replay = hub.said(&wants, since(ids[49]));
        assert_eq!(replay.messages.iter().map(|message| message.id).collect::<Vec<_>>(), [live.id]);
        assert_eq!(replay.gap, None);
        let oldest = Some(ids[0]);
        assert_eq!(hub.said(&wants, since(1)).gap, Some(Gap { after: 1, oldest }), "an id from before a restart");
        let ahead = live.id + 1_000_000;
        assert_eq!(
            hub.said(&wants, since(ahead)).gap,
            Some(Gap { after: ahead, oldest }),
            "and of a clock set back since"
        );
    }

    #[test]
    fn after_a_restart_with_the_clock_moved_nothing_is_missing_untold() {
        let hour = 3_600_000_000;
        let began = 500_000 * hour;
        let since = |point: Point| Since { point, most: usize::MAX };
        let texts = |replay: &Replay| -> Vec<String> {
            replay.messages.iter().rev().map(|message| message.message.clone()).collect()
        };
        clock::set(Some(began));
        let heard_last = hub(10, 8).publish(message("before")).unwrap().id;
        for moved in [began + hour, began - hour, 20_000_000] {
            clock::set(Some(moved));
            let hub = hub(10, 8);
            let first = hub.publish(message("first")).unwrap().id;
            let told = |hub: &Hub| {
                let replay = hub.said(&everything(), since(Point::After(heard_last)));
                (replay.gap.map(|gap| gap.after), texts(&replay))
            };
            assert_eq!(told(&hub), (Some(heard_last), vec!["first".to_owned()]), "{moved}");
            // By now it is later than when the old id was given.
            clock::set(Some(began + 2 * hour));
            hub.publish(message("second")).unwrap();
            let all = ["first", "second"].map(str::to_owned).to_vec();
            assert_eq!(told(&hub), (Some(heard_last), all), "{moved}");
            let ours = hub.said(&everything(), since(Point::After(first)));
            assert_eq!((ours.gap, texts(&ours)), (None, vec!["second".to_owned()]), "{moved}");
            let lately = hub.said(&everything(), since(Point::Ago(Duration::from_secs(600))));
            assert_eq!(texts(&lately), ["second"], "{moved}");
        }
        clock::set(None);
    }

    #[test]
    fn who_has_heard_more_at_another_server_hears_what_comes_after_that() {
        // Redis is asked `asked` times for everything before the first of three messages is posted.
        let check = |kind: &'static str, ahead: u64, asked: usize, expected: &str| {
            let limits = Limits { listeners: 10, queue: 8, history: 100, history_bytes: 1 << 20, things: 9 };
            let past = Restored::nothing();
            let begun = past.begun;
            let (queue, _clerk) = CommitQueue::new(kind);
            let hub = Hub::resume(limits, past, Some(queue)).0;
            let post = |more: u64| {
                let receipt = hub.post(std::sync::Arc::new(Message { id: begun + more, ..message(&more.to_string()) }));
                hub.lend_a_hand(receipt.listeners);
            };
            post(1);
            let wire = MemoryWire::new(usize::MAX);
            let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], 8);
            let since = Since { point: Point::After(begun + ahead), most: usize::MAX };
            hub.join(everything(), Some(since), recipient.letterbox()).unwrap();
            (0..asked).for_each(|_| hub.confirm());
            assert_eq!(hub.said(&everything(), since).gap.is_some(), expected.contains("gap"), "{kind}");
            recipient.write_out().unwrap();
            [2, 3, 4].into_iter().for_each(post);
            let heard = wire.text();
            let words: Vec<_> = heard.lines().map(|line| if line.len() > 1 { "gap" } else { line }).collect();
            assert_eq!(words.join(" "), expected, "{kind}: {heard}");
        };
        check("redis", 3, 0, "4");
        check("redis", 1, 0, "2 3 4");
        check("redis", 3_600_000_000, 1, "");
        check("redis", 3_600_000_000, 2, "gap 1 2 3 4");
        check("redis", 1, 2, "2 3 4");
        check("store", 3, 0, "gap 1 2 3 4");
    }

    #[test]
    fn a_thousand_who_join_while_it_is_said_fast_hear_no_hole_and_no_repeat() {
        let hub = Hub::new(Limits { listeners: 10, queue: 10_000, history: 2000, history_bytes: 1 << 30, things: 9 }).0;
        // The number of the newest message, and the number at which the speaker waits. Without it, a joiner that does
        // not get the processor would be told of a gap.
        let (said, enough) = (AtomicU64::new(0), AtomicU64::new(0));
        let number_of = |message: &Message| message.message.parse::<u64>().unwrap();
        let say = |number: u64| {
            let receipt = hub.publish(message(&number.to_string())).unwrap();
            said.store(number, Ordering::SeqCst);
            hub.lend_a_hand(receipt.listeners);
        };
        let join_and_leave = |round: usize| {
            enough.store(said.load(Ordering::SeqCst) + 500, Ordering::SeqCst);
            // Some have heard the newest message, some miss a few, some many.
            let newest = Since { point: Point::Oldest, most: [1, 2, 6, 300][round % 4] };
            let heard_last = hub.said(&everything(), newest).messages.pop().unwrap();
            let since = Since { point: Point::After(heard_last.id), most: usize::MAX };
            let wire = MemoryWire::new([usize::MAX, 20][round % 2]);
            let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], 10_000);
            hub.join(everything(), Some(since), recipient.letterbox()).unwrap();
            let replayed = said.load(Ordering::SeqCst);
            recipient.write_out().unwrap();
            enough.fetch_max(replayed + 3, Ordering::SeqCst);
            while said.load(Ordering::SeqCst) < replayed + 3 {
                std::thread::yield_now();
            }
            hub.leave(recipient.letterbox());
            recipient.write_out().unwrap();
            let first = number_of(&heard_last) + 1;
            let heard: Vec<u64> = wire.text().lines().map(|line| line.parse().expect("a number, no gap")).collect();
            let hole = (first..).zip(&heard).find(|(expected, heard)| expected != *heard);
            assert_eq!(hole, None, "from {first} on, in round {round}");
            assert!(first + heard.len() as u64 > replayed + 3, "it heard some of it live");
        };
        say(0);
        std::thread::scope(|scope| {
            let joiner = scope.spawn(|| (0..1000).for_each(join_and_leave));
            let mut next = 1;
            while !joiner.is_finished() {
                if next <= enough.load(Ordering::SeqCst) {
                    say(next);
                    next += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
    }
}
