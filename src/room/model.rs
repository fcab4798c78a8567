//! The model check: it runs the hand-over (`room/letterbox.rs`) in every order in which the threads of the hand-over
//! can meet. To see it work, take one of the fences away, or the look after the pen was put down.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::room::frame::Format;
use crate::room::hub::{Hub, Limits};
use crate::room::letterbox::Recipient;
use crate::room::memory_wire::{MemoryWire, letter, message};
use crate::room::message::Receipt;
use crate::room::replay::Since;
use crate::room::subscription::{Events, Subscription};

fn recipient(wire: &Arc<MemoryWire>) -> Recipient {
    Recipient::new(wire.clone(), Format::Lines, false, vec![], 8)
}

fn check(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(5);
    model.check(body);
}

/// Starts another thread that posts and carries each of `texts`.
fn speaks(recipient: &Recipient, texts: &'static [&'static str]) -> thread::JoinHandle<()> {
    let letterbox = recipient.letterbox().clone();
    thread::spawn(move || {
        for text in texts {
            letterbox.post(&letter(text));
            letterbox.carry();
        }
    })
}

#[test]
fn two_hands_leave_no_letter_lying() {
    check(|| {
        let wire = MemoryWire::new(usize::MAX);
        let recipient = recipient(&wire);
        let other = speaks(&recipient, &["x"]);
        recipient.letterbox().post(&letter("x"));
        recipient.letterbox().carry();
        other.join().unwrap();
        assert_eq!(wire.text(), "x\r\nx\r\n", "a letter is left lying");
    });
}

#[test]
fn a_hand_and_the_owner_leave_no_letter_lying_and_keep_the_order() {
    check(|| {
        let wire = MemoryWire::new(2); // full in the middle of the first letter
        let recipient = recipient(&wire);
        let speaker = speaks(&recipient, &["1", "2"]);
        recipient.write_out().unwrap(); // a heartbeat's turn, at any moment
        let left = recipient.silence_left(Duration::from_secs(3600)); // then it sleeps, unless there is no time left
        speaker.join().unwrap();
        if left.is_zero() || recipient.bell.try_recv().is_ok() {
            recipient.write_out().unwrap();
        }
        assert_eq!(wire.text(), "1\r\n2\r\n", "a letter is left lying and nobody was rung for it");
    });
}

#[test]
fn a_look_at_the_clock_leaves_no_letter_lying() {
    check(|| {
        let wire = MemoryWire::new(usize::MAX);
        let recipient = recipient(&wire);
        let speaker = speaks(&recipient, &["x"]);
        let asleep = !recipient.silence_left(Duration::from_secs(60)).is_zero();
        speaker.join().unwrap();
        if !asleep || recipient.bell.try_recv().is_ok() {
            recipient.write_out().unwrap();
        }
        assert_eq!(wire.text(), "x\r\n", "a letter is left lying until the next heartbeat");
    });
}

fn hub() -> Hub {
    Hub::new(Limits { listeners: 4, queue: 256, history: 8, history_bytes: 1 << 20, things: 9 }).0
}

fn everything() -> Subscription {
    Subscription { events: Events::All, ..Subscription::default() }
}

/// Starts another thread that says and carries each of `texts`. Returns their receipts.
fn says(hub: &Arc<Hub>, texts: &'static [&'static str]) -> thread::JoinHandle<Vec<Receipt>> {
    let hub = hub.clone();
    thread::spawn(move || texts.iter().map(|text| say(&hub, text)).collect())
}

fn say(hub: &Hub, text: &str) -> Receipt {
    let receipt = hub.publish(message(text)).unwrap();
    hub.lend_a_hand(receipt.listeners);
    receipt
}

#[test]
fn two_speakers_carry_everything_in_the_order_of_ids() {
    check(|| {
        let hub = Arc::new(hub());
        let wire = MemoryWire::new(usize::MAX);
        let recipient = recipient(&wire);
        hub.join(everything(), None, recipient.letterbox()).unwrap();
        let other = says(&hub, &["a"]);
        let b = say(&hub, "b");
        let a = other.join().unwrap()[0].id;
        assert_eq!(wire.text(), if a < b.id { "a\r\nb\r\n" } else { "b\r\na\r\n" });
    });
}

#[test]
fn who_joins_hears_everything_said_afterwards() {
    check(|| {
        let hub = Arc::new(hub());
        let wire = MemoryWire::new(usize::MAX);
        let recipient = recipient(&wire);
        let speaker = says(&hub, &["x", "x"]);
        hub.join(everything(), None, recipient.letterbox()).unwrap();
        let reached: Vec<_> = speaker.join().unwrap().iter().map(|receipt| receipt.listeners).collect();
        assert!(reached[0] <= reached[1], "once joined, it is reached");
        assert_eq!(wire.text(), "x\r\n".repeat(reached.iter().sum()), "it heard all that reached it");
    });
}

#[test]
fn who_joins_with_what_was_said_before_hears_everything_once() {
    check(|| {
        let hub = Arc::new(hub());
        let wire = MemoryWire::new(usize::MAX);
        let recipient = recipient(&wire);
        let speaker = says(&hub, &["1", "2"]);
        hub.join(everything(), Some(Since::OLDEST), recipient.letterbox()).unwrap();
        recipient.write_out().unwrap();
        speaker.join().unwrap();
        assert_eq!(wire.text(), "1\r\n2\r\n", "a hole or a repeat where the replay meets the live stream");
    });
}
