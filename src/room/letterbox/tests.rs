use super::*;
use crate::room::memory_wire::{MemoryWire, letter, message};
use crate::sync::sleep_until_rung;

#[test]
fn a_helping_hand_takes_what_the_socket_takes_and_rings_for_the_rest() {
    let wire = MemoryWire::new(7);
    let recipient = Recipient::new(wire.clone(), Format::Lines, false, b"head\r\n".to_vec(), 8);
    recipient.letterbox().post(&letter("one"));
    recipient.letterbox().carry();
    assert_eq!(wire.text(), "head\r\no", "the head first, then as much as there was room for");
    recipient.letterbox().post(&letter("two"));
    recipient.letterbox().carry();
    assert_eq!(wire.sends(), 2, "nobody tries again while the recipient is on its way");
    sleep_until_rung(&recipient.bell, Duration::from_secs(60)); // returns at once: the bell is rung
    recipient.write_out().unwrap();
    assert_eq!(wire.text(), "head\r\none\r\ntwo\r\n");
}

#[test]
fn what_was_said_before_goes_out_first_and_is_no_sign_of_a_slow_listener() {
    let wire = MemoryWire::new(10);
    let recipient = Recipient::new(wire.clone(), Format::Lines, false, b"head\r\n".to_vec(), 8);
    let past = (0..1000).rev().map(|number| std::sync::Arc::new(message(&format!("past {number}"))));
    recipient.letterbox().put_before(Replay {
        gap: Some(crate::room::replay::Gap { after: 7, oldest: None }),
        messages: past.collect(),
    });
    let posted = recipient.letterbox().post(&letter("live"));
    assert_eq!(posted, Some(1), "there is room in the letterbox");
    recipient.letterbox().carry(); // the first carry begins with it; the socket is full soon
    assert_eq!(wire.text(), "head\r\nalou");
    recipient.write_out().unwrap();
    let expected: String = (0..1000).map(|number| format!("past {number}\r\n")).collect();
    let notice = "aloud: messages after 7 may be missing; none is kept\r\n";
    assert_eq!(wire.text(), format!("head\r\n{notice}{expected}live\r\n"));
    assert_eq!(lock(&recipient.letterbox().pen).past.messages.capacity(), 0, "nothing is left of it");
}

#[test]
fn silence_is_broken_and_only_silence() {
    let wire = MemoryWire::new(usize::MAX);
    let recipient = Recipient::new(wire.clone(), Format::Sse, true, vec![], 8);
    recipient.break_silence(Duration::ZERO).unwrap();
    assert_eq!(wire.text(), "2\r\n:\n\r\n");
    recipient.break_silence(Duration::from_secs(60)).unwrap();
    assert_eq!(wire.text(), "2\r\n:\n\r\n");
    assert!(recipient.silence_left(Duration::from_secs(60)) > Duration::from_secs(1));
}

#[test]
fn a_chunked_stream_is_ended_properly() {
    let wire = MemoryWire::new(3);
    let recipient = Recipient::new(wire.clone(), Format::Lines, true, vec![], 8);
    recipient.letterbox().post(&letter("one"));
    recipient.finish().unwrap();
    assert_eq!(wire.text(), "5\r\none\r\n\r\n0\r\n\r\n");
}
