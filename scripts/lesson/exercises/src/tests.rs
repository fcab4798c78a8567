//! One test for each exercise. None of them waits for luck; a time that stands here is how long a thread that waits for
//! ever is given.

use std::io::{BufReader, ErrorKind, Read};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};

/// Longer than anything here takes on a slow machine.
const EVER: Duration = Duration::from_secs(10);

/// Runs `act` on a thread of its own, and returns its result.
fn in_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = bounded(1);
    thread::spawn(move || sender.send(act()));
    done.recv_timeout(EVER).expect("it ends, and does not wait for ever")
}

#[test]
fn e01_a_listener_that_has_left_is_struck_off() {
    let ((ann, ann_hears), (bob, bob_hears)) = (unbounded(), unbounded());
    let mut listeners = vec![ann, bob];
    drop(bob_hears);
    crate::e01_prune_the_dead::say(&mut listeners, "Hi");
    assert_eq!(listeners.len(), 1, "on the list, and one listens");
    crate::e01_prune_the_dead::say(&mut listeners, "Ho");
    assert_eq!(ann_hears.try_iter().collect::<Vec<_>>(), ["Hi", "Ho"]);
}

#[test]
fn e02_nobody_waits_for_a_listener_that_sleeps() {
    let ((asleep, never_read), (awake, hears)) = (bounded(1), bounded(2));
    in_time(move || {
        let mut listeners = vec![asleep, awake];
        ["Hi", "Ho"].iter().for_each(|line| crate::e02_never_wait::say(&mut listeners, line));
        assert_eq!(listeners.len(), 1, "the one that sleeps is hung up on");
    });
    assert_eq!((hears.iter().count(), never_read.iter().count()), (2, 1));
}

#[test]
fn e03_no_more_listen_than_may() {
    use crate::e03_look_and_act::{MOST, join};
    let room = Mutex::new(vec![unbounded().0; MOST - 1]);
    assert!(join(&room, unbounded().0, || {
        // Another thread would get in now if it found the lock free.
        if room.try_lock().is_ok() {
            assert!(join(&room, unbounded().0, || ()));
        }
    }));
    assert_eq!(room.lock().unwrap().len(), MOST);
    assert!(!join(&room, unbounded().0, || ()), "it is full");
}

#[test]
fn e04_the_locks_have_one_order() {
    use crate::e04_two_locks::{Room, move_last};
    let room = |number| Room { number, listeners: Mutex::new(vec![unbounded().0]) };
    let (one, two) = (room(1), room(2));
    let held = || [&one, &two].map(|room| room.listeners.try_lock().is_err());
    let (mut first, mut second) = ([false; 2], [false; 2]);
    move_last(&one, &two, || first = held());
    assert_eq!([&one, &two].map(|room| room.listeners.lock().unwrap().len()), [0, 2]);
    move_last(&two, &one, || second = held());
    assert_eq!([&one, &two].map(|room| room.listeners.lock().unwrap().len()), [1, 1]);
    assert!(first != [false; 2] && second != [false; 2], "a lock is held between the two");
    assert_eq!(first, second, "the first lock of one move is the second of the other: both wait for ever");
}

#[test]
fn e05_a_listener_is_told_when_something_is_forgotten() {
    let mut history = crate::e05_tell_the_gap::History::default();
    let missed = |history: &crate::e05_tell_the_gap::History, heard| {
        let missed = history.after(heard);
        (missed.gap, missed.messages.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
    };
    assert_eq!(missed(&history, 0), (false, vec![]), "nothing was said");
    ["one", "two", "three", "four", "five"].iter().for_each(|message| history.add(message));
    assert_eq!(missed(&history, 5), (false, vec![]));
    assert_eq!(missed(&history, 2), (false, vec![3, 4, 5]), "3 is the oldest that is kept");
    assert_eq!(missed(&history, 1), (true, vec![3, 4, 5]), "2 is forgotten");
    assert_eq!(missed(&history, 0), (true, vec![3, 4, 5]));
}

#[test]
fn e06_a_bell_that_was_rung_is_heard_once() {
    let bell = in_time(|| {
        let bell = crate::e06_ring_the_bell::Bell::new();
        bell.ring();
        bell.ring();
        bell
    });
    assert!(bell.sleep(Duration::ZERO), "it was rung before");
    assert!(!bell.sleep(Duration::ZERO), "twice is once");
    bell.ring();
    assert!(bell.sleep(Duration::ZERO));
}

#[test]
fn e07_a_head_has_an_end() {
    use crate::e07_bound_the_head::{MOST, read_head};
    assert_eq!(read_head(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"[..]).unwrap(), ["GET / HTTP/1.1", "Host: x"]);
    assert_eq!(read_head(&b"GET / HT"[..]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let head = |length| format!("{}\r\n\r\n", "a".repeat(length - 4));
    assert!(read_head(head(MOST as usize).as_bytes()).is_ok(), "exactly as long as may be");
    assert_eq!(read_head(head(MOST as usize + 1).as_bytes()).unwrap_err().kind(), ErrorKind::InvalidData);
    let many = "a\r\n".repeat(MOST as usize);
    assert_eq!(read_head(many.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidData, "the bound is of all lines");
    let mut endless = std::io::repeat(b'a').take(10_000_000);
    assert!(read_head(BufReader::with_capacity(64, &mut endless)).is_err());
    let taken = 10_000_000 - endless.limit();
    assert!(taken <= MOST + 64, "{taken} bytes are taken of a line without an end");
}

#[test]
fn e08_a_client_that_sends_a_byte_now_and_then_is_given_up() {
    use crate::e08_one_deadline::{Client, LIMIT, read_line};
    /// Sends its bytes with a pause before each.
    struct Slow(Duration, Duration, std::slice::Iter<'static, u8>);
    impl Client for Slow {
        fn now(&self) -> Duration {
            self.0
        }
        fn read(&mut self, limit: Duration) -> Option<u8> {
            self.0 += self.1.min(limit);
            if self.1 > limit { None } else { self.2.next().copied() }
        }
    }
    let client = |pause| Slow(Duration::from_secs(60), pause, b"abc\n".iter());
    assert_eq!(read_line(&mut client(LIMIT / 4)).as_deref(), Some(&b"abc"[..]), "just in time");
    let mut slow = client(LIMIT / 2);
    assert_eq!(read_line(&mut slow), None);
    assert_eq!(slow.now(), Duration::from_secs(60) + LIMIT, "it is given up when its time is over");
}

#[test]
fn e09_everyone_ends() {
    let ended = in_time(|| crate::e09_stop_everyone::Pool::start(3, |stopped| assert!(stopped.recv().is_err())).stop());
    assert_eq!(ended, 3);
}

#[test]
fn e10_no_letter_is_left_lying() {
    use crate::e10_lost_wake_up::Letterbox;
    let carried = in_time(|| {
        let (letters, waiting) = unbounded();
        let letterbox = Letterbox { letters, waiting, pen: Mutex::default() };
        let once = Mutex::new(Some(()));
        letterbox.say("one", || {
            // Another speaker comes. It does not get the pen, so it leaves its letter to the holder.
            if once.lock().unwrap().take().is_some() {
                letterbox.say("two", || ());
            }
        });
        assert!(once.lock().unwrap().is_none(), "the worst moment came");
        letterbox.pen.into_inner().unwrap()
    });
    assert_eq!(carried, ["one", "two"]);
}
