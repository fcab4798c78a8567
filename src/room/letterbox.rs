//! One listener's letterbox, bell and pen: how a message gets onto a listener's socket without anybody waiting for it.
//!
//! The letterbox is a bounded subscriber queue. The bell is a wake token. The pen is a lock that a speaker tries and
//! does not wait for; its holder looks for letters again after putting it down (try-lock and recheck).
//!
//! ```text
//!   hub, under its lock ──post──▶ letters ──┐
//!                                           ├──▶ the holder of the pen ──send──▶ socket
//!                          half-sent bytes ─┘
//!        a speaker: carry()        tries the pen, never waits; if the socket is full, rings the bell and goes on
//!        the listener's own thread: write_out()   takes the pen, and waits for the socket
//! ```
//!
//! A listener's own thread costs two context switches each time it is woken, more than the write it is woken for. So it
//! sleeps, and the thread of the speaker writes to every listener itself, with sends that never wait. This is called
//! carrying. If a socket is full, the speaker rings the bell and goes on. The listener's own thread wakes and waits for
//! the socket. Nobody holds a pen while waiting for a socket.
//!
//! **No letter is left lying.** The poster puts a letter in, then tries the pen. The holder of the pen puts it down,
//! then looks into the letterbox. On both sides a full memory fence stands between the two steps, so at least one of
//! the two sees what the other did: the poster finds the pen free, or the holder sees the letter. Take either fence
//! away and the model check at the end of this file fails.
//!
//! **The order holds.** Only the holder of the pen takes letters out. They go out before the pen is put down, or stay
//! with the pen as half sent.
//!
//! **A listener that comes back** first gets the messages it missed. They stay with the pen too, not among the letters,
//! because they are no sign of a slow listener. A thousand of them are a list of a thousand shared ones, encoded as the
//! socket takes them.

use std::io;
use std::time::{Duration, Instant};

use crate::room::frame::{self, Format, Letter};
use crate::room::history::Replay;
use crate::room::wire::{STALL_LIMIT, Watcher, Wire};
use crate::sync::{
    Arc, AtomicI64, AtomicU8, Mutex, Ordering, Receiver, Sender, bounded, fence, lock, try_lock, unbounded,
};

/// Letters gathered into one send, in bytes. Enough to make the system call cheap; little enough to be kept for each
/// listener whose socket takes only a part.
const BATCH_BYTES: usize = 64 * 1024;

/// Earlier messages encoded at a time, in bytes. A listener that reads slowly holds no more of them than this.
pub const PIECE_BYTES: usize = 16 * 1024;

/// The side of a listener that the hub and the speakers hold.
pub struct Letterbox {
    /// The sending end of the queue. Only the hub sends, under its lock; the holder of the pen receives. The channel is
    /// unbounded to crossbeam, because a bounded one allocates all its slots at once (6 KiB for each listener);
    /// [`post`](Self::post) bounds it. Disconnected once the listener's thread has closed the pen.
    letters: Sender<Arc<Letter>>,
    /// How many letters lie here. Counted up after a letter was put in and down after one was taken out, so it is below
    /// zero for a moment. It is kept here because the channel's own count lies in two further cache lines.
    waiting: AtomicI64,
    /// The bell. Rung by any thread that wants the listener's own thread to look. Capacity one: ringing twice is
    /// ringing once.
    bell: Sender<()>,
    /// How the listener stands: one of [`Standing`].
    standing: AtomicU8,
    pen: Mutex<Pen>,
    wire: Arc<dyn Wire>,
    /// The most letters that may lie here.
    limit: i64,
}

/// The state of one listener's stream. The thread that writes to the socket holds it.
struct Pen {
    /// The receiving end of the queue; `None` once the pen is closed, which tells the hub that nobody reads.
    letters: Option<Receiver<Arc<Letter>>>,
    /// Bytes that go out before every letter: at first the head of the answer, later the bytes that a full socket did
    /// not take.
    half_sent: Vec<u8>,
    /// Messages from before the listener joined, which go out before every letter; `None` once all have. Boxed, because
    /// most listeners have none most of the time.
    past: Option<Box<Replay>>,
    /// The socket is full and the bell is rung. The listener's own thread waits, then writes all that lies there.
    stalled: bool,
    /// Why the connection is over, once a send has said so. The kernel says it once, to the thread that happened to
    /// send; the listener's own thread learns it from here.
    failed: Option<io::ErrorKind>,
    /// When the last byte went out, for the heartbeat.
    last_sent: Instant,
    format: Format,
    chunked: bool,
}

/// The side of a listener that its own thread holds. The bell's receiver is here, because the thread sleeps on it.
pub struct Owner {
    letterbox: Arc<Letterbox>,
    /// Only the listener's own thread receives. Senders are speakers, the hub when it hangs up, the watcher that sees
    /// the client leave, and the stop.
    bell: Receiver<()>,
}

/// How a listener stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It hears all messages that it wants.
    Listening,
    /// The server ends it: the letters in the letterbox are delivered, then the stream ends properly.
    Closing,
    /// It did not keep up and is hung up on.
    HungUp,
    /// It has closed the connection.
    Left,
}

/// The result of posting a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It lies in the letterbox.
    Put {
        /// How many lie there now.
        waiting: i64,
    },
    /// The letterbox holds as many letters as it may.
    Full,
    /// Nobody reads this letterbox any more.
    Gone,
}

/// How far a write got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    /// Everything that lay there is written.
    All,
    /// The socket is full; the rest stays with the pen.
    Some,
    /// The pen is closed.
    Closed,
}

impl Letterbox {
    /// Puts a letter in, if fewer than the limit lie there. Never waits. Only the hub posts, under its lock. So the
    /// count cannot grow between the check and the send, and all letterboxes hold their letters in one order.
    pub fn post(&self, letter: &Arc<Letter>) -> Posted {
        if self.waiting.load(Ordering::Relaxed) >= self.limit {
            return Posted::Full;
        }
        match self.letters.send(letter.clone()) {
            Ok(()) => Posted::Put { waiting: self.waiting.fetch_add(1, Ordering::Relaxed) + 1 },
            Err(_) => Posted::Gone,
        }
    }

    /// Puts earlier messages behind the head and in front of all letters. The hub calls it before anybody else knows of
    /// this letterbox, so nobody holds the pen.
    pub fn put_before(&self, replay: Replay) {
        lock(&self.pen).past = Some(Box::new(replay));
    }

    /// Prefetches the memory that [`post`](Self::post) and [`carry`](Self::carry) will need of this letterbox.
    pub fn look_ahead(&self) {
        std::hint::black_box((self.waiting.load(Ordering::Relaxed), self.letters.is_empty()));
    }

    /// Carries: writes the letters that lie here as far as the socket takes them at once. Never waits for the socket.
    /// `buffer` is scratch space, so that a walk along a thousand letterboxes allocates once.
    pub fn carry(&self, buffer: &mut Vec<u8>) {
        loop {
            fence(Ordering::SeqCst);
            let waiting = self.waiting.load(Ordering::Relaxed);
            if waiting <= 0 {
                return;
            }
            let mut pen = if waiting <= self.limit / 2 {
                // Somebody else writes, and looks again after putting the pen down.
                let Some(pen) = try_lock(&self.pen) else { return };
                pen
            } else {
                // The scheduler has interrupted the holder of the pen for so long that the letterbox is half full. The
                // speakers wait for that thread now; otherwise they would hang up on a listener that is not slow.
                lock(&self.pen)
            };
            if pen.stalled {
                return;
            }
            let wrote = pen.write(self, buffer);
            drop(pen);
            match wrote {
                Ok(Wrote::All) => {} // look again
                Ok(Wrote::Closed) => return,
                Ok(Wrote::Some) | Err(_) => return self.ring(),
            }
        }
    }

    /// Hangs up on a listener that did not keep up. Its thread is woken even out of a wait for the socket.
    pub fn hang_up(&self) {
        self.standing.store(Standing::HungUp as u8, Ordering::SeqCst);
        self.wire.cut();
        self.ring();
    }

    /// Tells the listener's own thread that nothing more will be posted. Either the server stops, or this server missed
    /// messages, and the listener is told of the gap when it comes back (`Hub::skip`).
    pub fn close(&self) {
        self.standing.store(Standing::Closing as u8, Ordering::SeqCst);
        self.ring();
    }

    /// Tells the listener's own thread that the listener has closed the connection.
    pub fn let_leave(&self) {
        let (listening, left) = (Standing::Listening as u8, Standing::Left as u8);
        let _ = self.standing.compare_exchange(listening, left, Ordering::SeqCst, Ordering::SeqCst);
        self.ring();
    }

    fn ring(&self) {
        let _ = self.bell.try_send(()); // full: it is rung already
    }
}

#[cfg(not(loom))]
impl Watcher for Letterbox {
    fn peer_left(&self) {
        self.let_leave();
    }
}

impl Owner {
    /// Makes a letterbox of `limit` letters and its owner, for a listener on `wire` that wants `format`, with chunk
    /// framing if `chunked`. `head` goes out first.
    pub fn new(wire: Arc<dyn Wire>, format: Format, chunked: bool, head: Vec<u8>, limit: usize) -> Owner {
        let (letters, waiting) = unbounded();
        let (bell, rung) = bounded(1);
        let pen = Pen {
            letters: Some(waiting),
            half_sent: head,
            past: None,
            stalled: false,
            failed: None,
            last_sent: Instant::now(),
            format,
            chunked,
        };
        let letterbox = Letterbox {
            letters,
            waiting: AtomicI64::new(0),
            bell,
            standing: AtomicU8::new(Standing::Listening as u8),
            pen: Mutex::new(pen),
            wire,
            limit: limit as i64,
        };
        Owner { letterbox: Arc::new(letterbox), bell: rung }
    }

    /// The letterbox, for the hub.
    pub fn letterbox(&self) -> &Arc<Letterbox> {
        &self.letterbox
    }

    /// How the listener stands: whether its thread goes on, and if not, why.
    pub fn standing(&self) -> Standing {
        match self.letterbox.standing.load(Ordering::SeqCst) {
            standing if standing == Standing::Closing as u8 => Standing::Closing,
            standing if standing == Standing::HungUp as u8 => Standing::HungUp,
            standing if standing == Standing::Left as u8 => Standing::Left,
            _ => Standing::Listening,
        }
    }

    /// Writes everything that lies in the letterbox, waiting for the socket as often as needed.
    ///
    /// # Errors
    /// `TimedOut` if the socket took nothing for [`STALL_LIMIT`]; anything else means that the connection is over.
    pub fn write_out(&self) -> io::Result<()> {
        let letterbox = &*self.letterbox;
        let mut buffer = Vec::new();
        loop {
            let wrote = lock(&letterbox.pen).write(letterbox, &mut buffer)?;
            if wrote == Wrote::Some {
                letterbox.wire.wait_until_writable(STALL_LIMIT)?;
                continue;
            }
            fence(Ordering::SeqCst);
            if letterbox.waiting.load(Ordering::Relaxed) <= 0 {
                return Ok(());
            }
        }
    }

    /// Sends a heartbeat if nothing was sent for `interval`.
    ///
    /// # Errors
    /// As [`write_out`](Self::write_out).
    pub fn break_silence(&self, interval: Duration) -> io::Result<()> {
        {
            let mut pen = lock(&self.letterbox.pen);
            if pen.half_sent.is_empty() && pen.last_sent.elapsed() >= interval {
                pen.half_sent = frame::framed(frame::heartbeat(pen.format).to_vec(), pen.chunked);
            }
        }
        self.write_out()
    }

    /// How long until a heartbeat is due, if nothing is sent before then; zero if there is something to write.
    pub fn silence_left(&self, interval: Duration) -> Duration {
        let silence = lock(&self.letterbox.pen).last_sent.elapsed();
        // This look held the pen, so a speaker may have found it taken and gone on.
        fence(Ordering::SeqCst);
        match self.letterbox.waiting.load(Ordering::Relaxed) {
            ..=0 => interval.saturating_sub(silence),
            _ => Duration::ZERO,
        }
    }

    /// Writes what lies in the letterbox and ends the stream properly: curl exits 0, an `EventSource` comes back.
    ///
    /// # Errors
    /// As [`write_out`](Self::write_out).
    pub fn finish(&self) -> io::Result<()> {
        self.write_out()?;
        {
            let mut pen = lock(&self.letterbox.pen);
            if pen.chunked {
                pen.half_sent.extend_from_slice(frame::LAST_CHUNK);
            }
        }
        self.write_out()
    }

    /// Asks why the listener has left, if the connection has failed.
    ///
    /// # Errors
    /// The failure, as in [`write_out`](Self::write_out).
    pub fn why_left(&self) -> io::Result<()> {
        match lock(&self.letterbox.pen).failed {
            Some(kind) => Err(kind.into()),
            None => self.letterbox.wire.failure(),
        }
    }

    /// The most letters that may wait.
    pub fn limit(&self) -> i64 {
        self.letterbox.limit
    }

    /// Sleeps until the bell is rung, at most for `limit`. If it was rung before, the sleep ends at once.
    #[cfg(not(loom))]
    pub fn sleep(&self, limit: Duration) {
        crate::sync::sleep_until_rung(&self.bell, limit);
    }
}

impl Drop for Owner {
    /// Closes the pen, so that nobody writes to a connection that is about to be closed: its descriptor's number may
    /// belong to another one a moment later.
    fn drop(&mut self) {
        let mut pen = lock(&self.letterbox.pen);
        pen.letters = None;
        pen.half_sent = Vec::new();
        pen.past = None;
    }
}

impl Pen {
    /// Writes what lies there as far as the socket takes it, and remembers whether it took all.
    fn write(&mut self, letterbox: &Letterbox, buffer: &mut Vec<u8>) -> io::Result<Wrote> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let wrote = self.write_until_full(letterbox, buffer);
        self.stalled = !matches!(wrote, Ok(Wrote::All));
        self.failed = wrote.as_ref().err().map(io::Error::kind);
        wrote
    }

    /// Writes the half-sent bytes, then earlier messages, then letters, many in one send, until nothing is left or the
    /// socket is full.
    fn write_until_full(&mut self, letterbox: &Letterbox, buffer: &mut Vec<u8>) -> io::Result<Wrote> {
        let Some(letters) = &self.letters else { return Ok(Wrote::Closed) };
        loop {
            while !self.half_sent.is_empty() {
                match send(&*letterbox.wire, &self.half_sent, &mut self.last_sent)? {
                    0 => return Ok(Wrote::Some),
                    sent => self.half_sent.drain(..sent),
                };
            }
            match &mut self.past {
                Some(past) if !past.is_empty() => {
                    self.half_sent = frame::run(past, self.format, self.chunked, PIECE_BYTES);
                }
                _ => break,
            }
        }
        (self.half_sent, self.past) = (Vec::new(), None);
        loop {
            let waiting = letterbox.waiting.load(Ordering::Relaxed);
            if waiting <= 0 {
                return Ok(Wrote::All);
            }
            buffer.clear();
            let mut taken = 0;
            while taken < waiting && buffer.len() < BATCH_BYTES {
                let Ok(letter) = letters.try_recv() else { break };
                taken += 1;
                let frame = letter.frame(self.format);
                buffer.extend_from_slice(if self.chunked { frame.chunk() } else { frame.payload() });
            }
            letterbox.waiting.fetch_sub(taken, Ordering::Relaxed);
            let sent = send(&*letterbox.wire, buffer, &mut self.last_sent)?;
            if sent < buffer.len() {
                self.half_sent = buffer[sent..].to_vec();
                return Ok(Wrote::Some);
            }
        }
    }
}

/// Sends `bytes` and returns how many the wire took; zero if it takes none now.
fn send(wire: &dyn Wire, bytes: &[u8], last_sent: &mut Instant) -> io::Result<usize> {
    match wire.send_now(bytes) {
        Ok(sent) => {
            *last_sent = Instant::now();
            Ok(sent)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! A wire made of memory, for the tests here and in `room/hub.rs`.

    use super::*;
    use crate::room::message::Message;
    use std::sync::Mutex as StdMutex;

    /// A wire that takes a set number of bytes, then is full until somebody waits for it.
    pub struct Tape(StdMutex<Taken>);

    struct Taken {
        bytes: Vec<u8>,
        room: usize,
        sends: usize,
        broken: bool,
        /// Reported once, as the kernel does; after that every send fails with `BrokenPipe`.
        last_words: Option<io::ErrorKind>,
    }

    #[cfg_attr(loom, allow(dead_code))] // the model check needs a part of it
    impl Tape {
        pub fn new(room: usize) -> std::sync::Arc<Tape> {
            std::sync::Arc::new(Tape(StdMutex::new(Taken {
                bytes: vec![],
                room,
                sends: 0,
                broken: false,
                last_words: None,
            })))
        }

        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
        }

        pub fn sends(&self) -> usize {
            self.0.lock().unwrap().sends
        }

        pub fn break_with(&self, last_words: io::ErrorKind) {
            let mut taken = self.0.lock().unwrap();
            (taken.broken, taken.last_words) = (true, Some(last_words));
        }

        pub fn is_cut(&self) -> bool {
            self.0.lock().unwrap().broken
        }
    }

    impl Wire for Tape {
        fn watch(&self, _: Option<std::sync::Arc<dyn Watcher>>) {}

        fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.0.lock().unwrap();
            if taken.broken {
                return Err(taken.last_words.take().unwrap_or(io::ErrorKind::BrokenPipe).into());
            }
            let length = bytes.len().min(taken.room);
            if length == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            taken.bytes.extend_from_slice(&bytes[..length]);
            taken.room -= length;
            taken.sends += 1;
            Ok(length)
        }

        fn wait_until_writable(&self, _: Duration) -> io::Result<()> {
            self.0.lock().unwrap().room = usize::MAX;
            Ok(())
        }

        fn failure(&self) -> io::Result<()> {
            Ok(())
        }

        fn cut(&self) {
            self.0.lock().unwrap().broken = true;
        }
    }

    pub fn message(text: &str) -> Message {
        Message {
            id: 0,
            time: 0,
            event: "message".into(),
            channel: String::new(),
            name: String::new(),
            message: text.to_owned(),
            fields: vec![],
        }
    }

    pub fn letter(text: &str) -> Arc<Letter> {
        Arc::new(Letter::new(std::sync::Arc::new(message(text))))
    }

    #[cfg(not(loom))]
    #[test]
    fn a_helping_hand_takes_what_the_socket_takes_and_rings_for_the_rest() {
        let tape = Tape::new(7);
        let owner = Owner::new(tape.clone(), Format::Lines, false, b"head\r\n".to_vec(), 8);
        owner.letterbox().post(&letter("one"));
        owner.letterbox().carry(&mut vec![]);
        assert_eq!(tape.text(), "head\r\no", "the head first, then as much as there was room for");
        owner.letterbox().post(&letter("two"));
        owner.letterbox().carry(&mut vec![]);
        assert_eq!(tape.sends(), 2, "nobody tries again while the owner is on its way");
        owner.sleep(Duration::from_secs(60)); // returns at once: the bell is rung
        owner.write_out().unwrap();
        assert_eq!(tape.text(), "head\r\none\r\ntwo\r\n");
    }

    #[cfg(not(loom))]
    #[test]
    fn the_owner_learns_of_a_connection_that_a_helping_hand_found_broken() {
        let tape = Tape::new(usize::MAX);
        let owner = Owner::new(tape.clone(), Format::Lines, false, vec![], 8);
        tape.break_with(io::ErrorKind::TimedOut);
        owner.letterbox().post(&letter("one"));
        owner.letterbox().carry(&mut vec![]);
        owner.sleep(Duration::from_secs(60)); // returns at once
        assert_eq!(owner.write_out().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[cfg(not(loom))]
    #[test]
    fn what_was_said_before_goes_out_first_and_is_no_sign_of_a_slow_listener() {
        let tape = Tape::new(10);
        let owner = Owner::new(tape.clone(), Format::Lines, false, b"head\r\n".to_vec(), 8);
        let past = (0..1000).rev().map(|number| std::sync::Arc::new(message(&format!("past {number}"))));
        owner.letterbox().put_before(Replay {
            gap: Some(crate::room::history::Gap { after: 7, oldest: None }),
            messages: past.collect(),
        });
        let posted = owner.letterbox().post(&letter("live"));
        assert_eq!(posted, Posted::Put { waiting: 1 }, "there is room in the letterbox");
        owner.letterbox().carry(&mut vec![]); // the first carry begins with it; the socket is full soon
        assert_eq!(tape.text(), "head\r\nalou");
        owner.write_out().unwrap();
        let expected: String = (0..1000).map(|number| format!("past {number}\r\n")).collect();
        let notice = "aloud: messages after 7 may be missing; none is kept\r\n";
        assert_eq!(tape.text(), format!("head\r\n{notice}{expected}live\r\n"));
        assert_eq!(lock(&owner.letterbox().pen).past, None, "nothing is left of it");
    }

    #[cfg(not(loom))]
    #[test]
    fn silence_is_broken_and_only_silence() {
        let tape = Tape::new(usize::MAX);
        let owner = Owner::new(tape.clone(), Format::Sse, true, vec![], 8);
        owner.break_silence(Duration::ZERO).unwrap();
        assert_eq!(tape.text(), "2\r\n:\n\r\n");
        owner.break_silence(Duration::from_secs(60)).unwrap();
        assert_eq!(tape.text(), "2\r\n:\n\r\n");
        assert!(owner.silence_left(Duration::from_secs(60)) > Duration::from_secs(1));
    }

    #[cfg(not(loom))]
    #[test]
    fn a_chunked_stream_is_ended_properly() {
        let tape = Tape::new(3);
        let owner = Owner::new(tape.clone(), Format::Lines, true, vec![], 8);
        owner.letterbox().post(&letter("one"));
        owner.finish().unwrap();
        assert_eq!(tape.text(), "5\r\none\r\n\r\n0\r\n\r\n");
    }
}

#[cfg(all(test, loom))]
mod model {
    //! The model check: it runs the code above in every order in which the threads of the hand-over can meet. To see it
    //! work, take one of the fences away, or the look after the pen was put down.

    use super::tests::{Tape, letter};
    use super::*;
    use crate::room::frame::Format;
    use crate::room::history::Since;
    use crate::room::hub::{Events, Hub, Limits, Subscription};
    use loom::thread;

    fn owner(tape: &std::sync::Arc<Tape>) -> Owner {
        Owner::new(tape.clone(), Format::Lines, false, vec![], 8)
    }

    fn check(body: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(5);
        model.check(body);
    }

    /// Starts another thread that posts and carries each of `texts`.
    fn speaks(owner: &Owner, texts: &'static [&'static str]) -> thread::JoinHandle<()> {
        let letterbox = owner.letterbox().clone();
        thread::spawn(move || {
            for text in texts {
                letterbox.post(&letter(text));
                letterbox.carry(&mut vec![]);
            }
        })
    }

    #[test]
    fn two_hands_leave_no_letter_lying() {
        check(|| {
            let tape = Tape::new(usize::MAX);
            let owner = owner(&tape);
            let other = speaks(&owner, &["x"]);
            owner.letterbox().post(&letter("x"));
            owner.letterbox().carry(&mut vec![]);
            other.join().unwrap();
            assert_eq!(tape.text(), "x\r\nx\r\n", "a letter is left lying");
        });
    }

    #[test]
    fn a_hand_and_the_owner_leave_no_letter_lying_and_keep_the_order() {
        check(|| {
            let tape = Tape::new(2); // full in the middle of the first letter
            let owner = owner(&tape);
            let speaker = speaks(&owner, &["1", "2"]);
            owner.write_out().unwrap(); // a heartbeat's turn, at any moment
            let left = owner.silence_left(Duration::from_secs(3600)); // then it sleeps, unless there is no time left
            speaker.join().unwrap();
            if left.is_zero() || owner.bell.try_recv().is_ok() {
                owner.write_out().unwrap();
            }
            assert_eq!(tape.text(), "1\r\n2\r\n", "a letter is left lying and nobody was rung for it");
        });
    }

    #[test]
    fn a_look_at_the_clock_leaves_no_letter_lying() {
        check(|| {
            let tape = Tape::new(usize::MAX);
            let owner = owner(&tape);
            let speaker = speaks(&owner, &["x"]);
            let asleep = !owner.silence_left(Duration::from_secs(60)).is_zero();
            speaker.join().unwrap();
            if !asleep || owner.bell.try_recv().is_ok() {
                owner.write_out().unwrap();
            }
            assert_eq!(tape.text(), "x\r\n", "a letter is left lying until the next heartbeat");
        });
    }

    fn hub() -> Hub {
        Hub::new(Limits { listeners: 4, queue: 256, history: 8, history_bytes: 1 << 20 }).0
    }

    fn everything() -> Subscription {
        Subscription { channel: String::new(), events: Events::All }
    }

    #[test]
    fn two_speakers_carry_everything_in_the_order_of_ids() {
        check(|| {
            let hub = std::sync::Arc::new(hub());
            let tape = Tape::new(usize::MAX);
            let owner = owner(&tape);
            hub.join(everything(), Since::NOW, owner.letterbox().clone()).unwrap();
            let other = {
                let hub = hub.clone();
                thread::spawn(move || {
                    let receipt = hub.publish(super::tests::message("a")).unwrap();
                    hub.lend_a_hand(receipt.listeners);
                    receipt.id
                })
            };
            let b = hub.publish(super::tests::message("b")).unwrap();
            hub.lend_a_hand(b.listeners);
            let a = other.join().unwrap();
            assert_eq!(tape.text(), if a < b.id { "a\r\nb\r\n" } else { "b\r\na\r\n" });
        });
    }

    #[test]
    fn who_joins_hears_everything_said_afterwards() {
        check(|| {
            let hub = std::sync::Arc::new(hub());
            let tape = Tape::new(usize::MAX);
            let owner = owner(&tape);
            let speaker = {
                let hub = hub.clone();
                thread::spawn(move || {
                    [(); 2].map(|()| {
                        let reached = hub.publish(super::tests::message("x")).unwrap().listeners;
                        hub.lend_a_hand(reached);
                        reached
                    })
                })
            };
            hub.join(everything(), Since::NOW, owner.letterbox().clone()).unwrap();
            let reached = speaker.join().unwrap();
            assert!(reached[0] <= reached[1], "once joined, it is reached");
            assert_eq!(tape.text(), "x\r\n".repeat(reached.iter().sum()), "what it was reached with, it heard");
        });
    }

    #[test]
    fn who_joins_with_what_was_said_before_hears_everything_once() {
        check(|| {
            let hub = std::sync::Arc::new(hub());
            let tape = Tape::new(usize::MAX);
            let owner = owner(&tape);
            let speaker = {
                let hub = hub.clone();
                thread::spawn(move || {
                    for text in ["1", "2"] {
                        let receipt = hub.publish(super::tests::message(text)).unwrap();
                        hub.lend_a_hand(receipt.listeners);
                    }
                })
            };
            hub.join(everything(), Since::OLDEST, owner.letterbox().clone()).unwrap();
            owner.write_out().unwrap();
            speaker.join().unwrap();
            assert_eq!(tape.text(), "1\r\n2\r\n", "a hole or a repeat where the replay meets the live stream");
        });
    }
}
