use super::*;
use crate::room::frame::Format;
use crate::room::letterbox::Recipient;
use crate::room::memory_wire::{MemoryWire, message};
use crate::room::message::NUMBER_EVENT;
use crate::room::subscription::Events;

pub fn hub(listeners: usize, queue: usize) -> Hub {
    Hub::new(Limits { listeners, queue, history: 100, history_bytes: 1 << 20, things: 9 }).0
}

pub fn everything() -> Subscription {
    Subscription::default()
}

pub fn join(hub: &Hub, queue: usize) -> (Recipient, std::sync::Arc<MemoryWire>) {
    join_on(hub, queue, everything())
}

fn join_on(hub: &Hub, queue: usize, wants: Subscription) -> (Recipient, std::sync::Arc<MemoryWire>) {
    let wire = MemoryWire::new(usize::MAX);
    let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], queue);
    hub.join(wants, None, recipient.letterbox()).unwrap();
    (recipient, wire)
}

#[test]
fn in_a_big_room_what_few_want_is_carried_to_them_without_a_walk() {
    let hub = hub(3 * BIG_ROOM, 8);
    let on = |channel: usize| Subscription { channels: format!("a{channel}"), ..everything() };
    let rooms: Vec<_> = (0..2 * BIG_ROOM).map(|number| join_on(&hub, 8, on(number % BIG_ROOM))).collect();
    let said = hub.publish(Message { channel: "a7/b".to_owned(), ..message("one") }).unwrap();
    assert_eq!((said.listeners, hub.carriers.posted()), (2, 0));
    hub.lend_a_hand(said.listeners);
    for (number, (_, wire)) in rooms.iter().enumerate() {
        assert_eq!(wire.text(), if number % BIG_ROOM == 7 { "one\r\n" } else { "" }, "{number}");
    }
    let _crowd: Vec<_> = (0..=FEW).map(|_| join_on(&hub, 8, on(9))).collect();
    hub.publish(Message { channel: "a9".to_owned(), ..message("two") }).unwrap();
    assert_eq!(hub.carriers.posted(), 1, "a walk carries what more of them want");
}

#[test]
fn who_says_something_carries_it_to_everyone() {
    let hub = hub(10, 8);
    let rooms: Vec<_> = (0..3).map(|_| join(&hub, 8)).collect();
    let first = hub.publish(message("one")).unwrap();
    let second = hub.publish(message("two")).unwrap();
    assert_eq!((first.listeners, second.listeners), (3, 3));
    assert!(second.id > first.id);
    assert!(rooms.iter().all(|(_, wire)| wire.text().is_empty()), "nothing is sent under the lock");
    hub.lend_a_hand(second.listeners);
    for (_, wire) in &rooms {
        assert_eq!(wire.text(), "one\r\ntwo\r\n");
        assert_eq!(wire.sends(), 1, "many letters go out in one send");
    }
}

#[test]
fn a_full_letterbox_is_hung_up_on_once_and_the_others_hear_all() {
    let hub = hub(10, 8);
    let slow = MemoryWire::new(0);
    let slow_recipient = Recipient::new(slow.clone(), Format::Lines, false, vec![], 8);
    hub.join(everything(), None, slow_recipient.letterbox()).unwrap();
    let (_recipient, wire) = join(&hub, 8);
    let reached: Vec<_> = (0..12)
        .map(|number| {
            let receipt = hub.publish(message(&number.to_string())).unwrap();
            hub.lend_a_hand(receipt.listeners);
            receipt.listeners
        })
        .collect();
    // The first hand found the socket full and took all that lay there, one letter; eight more fill the letterbox.
    assert_eq!(reached, [2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]);
    assert_eq!(slow_recipient.state(), crate::room::letterbox::StreamState::HungUp);
    assert!(slow.is_cut());
    assert_eq!(wire.text(), (0..12).map(|number| format!("{number}\r\n")).collect::<String>());
}

#[test]
fn a_closed_pen_is_pruned_and_one_who_leaves_is_forgotten() {
    let hub = hub(10, 8);
    let (first, _) = join(&hub, 8);
    let (second, _) = join(&hub, 8);
    drop(first);
    assert_eq!(hub.publish(message("x")).unwrap().listeners, 1);
    assert_eq!(hub.listeners(), 1, "pruned");
    hub.leave(second.letterbox());
    hub.leave(second.letterbox());
    assert_eq!(hub.listeners(), 0);
}

#[test]
fn the_room_has_a_bound_and_an_end() {
    let hub = hub(1, 8);
    let (recipient, wire) = join(&hub, 8);
    let other = Recipient::new(MemoryWire::new(0), Format::Lines, false, vec![], 8);
    assert_eq!(hub.join(everything(), None, other.letterbox()), Err(Refused::Full));
    hub.publish(message("last")).unwrap();
    hub.close();
    assert_eq!(hub.listeners(), 1, "until all is said");
    hub.end();
    assert_eq!(hub.publish(message("too late")), Err(Refused::Stopping));
    assert_eq!(hub.join(everything(), None, other.letterbox()), Err(Refused::Stopping));
    assert_eq!(recipient.state(), crate::room::letterbox::StreamState::Closing);
    recipient.finish().unwrap();
    assert_eq!(wire.text(), "last\r\n", "all that was accepted is delivered");
}

#[test]
fn many_speakers_and_listeners_keep_one_order() {
    let hub = hub(100, 64);
    let rooms: Vec<_> = (0..20).map(|_| join(&hub, 64)).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let receipt = hub.publish(message("x")).unwrap();
                    assert_eq!(receipt.listeners, 20, "nobody is hung up on");
                    hub.lend_a_hand(receipt.listeners);
                }
            });
        }
    });
    hub.lend_a_second_hand();
    for (_, wire) in &rooms {
        assert_eq!(wire.text(), "x\r\n".repeat(4000));
    }
}

#[test]
fn who_comes_back_by_an_id_hears_the_newest_word_on_each_thing_that_the_history_does_not_keep() {
    let hub = hub(1, 8);
    let number = |key: &str, status: &str, text: &str| {
        let (key, status) = (key.to_owned(), status.to_owned());
        hub.publish(Message { event: NUMBER_EVENT.into(), key, status, ..message(text) }).unwrap().id
    };
    let before = number("a", "ok", "a 1");
    let said = hub.publish(message("said")).unwrap().id;
    number("b", "ok", "b 1");
    let warned = number("b", "warn", "b 2");
    number("a", "gone", "a is gone");
    let heard = |events: Events, since: u64, most: usize| {
        let wants = Subscription { events, ..Subscription::default() };
        let replay = hub.said(&wants, Since { point: Point::After(since), most });
        assert_eq!(replay.gap, None);
        replay.messages.iter().rev().map(|message| message.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(heard(Events::All, before, 9), ["said", "b 2", "a is gone"]);
    assert_eq!(heard(Events::All, said, 9), ["b 2", "a is gone"]);
    assert_eq!(heard(Events::All, warned, 9), ["a is gone"]);
    assert_eq!(heard(Events::All, before, 2), ["b 2", "a is gone"]);
    assert_eq!(heard(Events::AllButQuiet, before, 9), ["said"]);
    let alert = hub.publish(Message { key: "c".to_owned(), ..message("c fires") }).unwrap().id;
    assert_eq!(heard(Events::All, warned, 9), ["a is gone", "c fires"], "what is kept comes once");
    let newer = Message { id: alert + 9, event: NUMBER_EVENT.into(), key: "d".to_owned(), ..message("d 1") };
    hub.renew(&[(Arc::new(newer), 0)]);
    assert_eq!(heard(Events::All, alert, 9), [""; 0], "it is posted later");
}
