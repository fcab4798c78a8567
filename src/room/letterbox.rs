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
//! the two sees what the other did: the poster finds the pen free, or the holder sees the letter. Without either fence
//! the model check (`room/model.rs`) fails.
//!
//! **The order holds.** Only the holder of the pen takes letters out. They go out before the pen is put down, or stay
//! with the pen as half sent.
//!
//! **A listener that comes back** first gets the messages it missed. They stay with the pen too, not among the letters,
//! because they are no sign of a slow listener. A thousand of them are a list of a thousand shared ones, encoded as the
//! socket takes them.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::room::frame::{self, Format, Letter};
use crate::room::replay::Replay;
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
    /// How the listener stands: one of [`StreamState`].
    state: AtomicU8,
    pen: Mutex<Pen>,
    wire: Arc<dyn Wire>,
    /// The most letters that may lie here.
    pub(super) limit: i64,
}

/// The state of one listener's stream. The thread that writes to the socket holds it.
struct Pen {
    /// The receiving end of the queue; `None` once the pen is closed, which tells the hub that nobody reads.
    letters: Option<Receiver<Arc<Letter>>>,
    /// Bytes that go out before every letter: at first the head of the answer, later the bytes that a full socket did
    /// not take.
    half_sent: Vec<u8>,
    /// Messages from before the listener joined, which go out before every letter.
    past: Replay,
    /// Whether something has gone out.
    begun: bool,
    /// Why the last write has not written all. `WouldBlock`: the socket is full and the bell is rung; the listener's
    /// own thread waits, then writes all that lies there. Any other reason: the connection is over. The kernel says
    /// that once, to the thread that happened to send; the listener's own thread learns it from here.
    stuck: Option<ErrorKind>,
    /// When the last byte went out, for the heartbeat.
    last_sent: Instant,
    format: Format,
    chunked: bool,
}

/// The side of a listener that its own thread holds. The bell's receiver is here, because the thread sleeps on it.
pub struct Recipient {
    letterbox: Arc<Letterbox>,
    /// Only the listener's own thread receives. Senders are speakers, the hub when it hangs up, the watcher that sees
    /// the client leave, and the stop.
    pub(super) bell: Receiver<()>,
}

/// How a listener stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It hears all messages that it wants.
    Listening,
    /// The server ends it: the letters in the letterbox are delivered, then the stream ends properly.
    Closing,
    /// It did not keep up and is hung up on.
    HungUp,
    /// It has closed the connection.
    Left,
}

impl Letterbox {
    /// Puts a letter in, and returns how many lie there now; `None` if as many as may lie there already, or if nobody
    /// reads this letterbox any more. Never waits. Only the hub posts, under its lock. So the count cannot grow between
    /// the check and the send, and all letterboxes hold their letters in one order.
    pub fn post(&self, letter: &Arc<Letter>) -> Option<i64> {
        if self.waiting.load(Ordering::Relaxed) >= self.limit {
            return None;
        }
        self.letters.send(letter.clone()).ok()?;
        Some(self.waiting.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Puts earlier messages in front of all letters, for a listener that has got nothing but the head so far. If there
    /// are none, JSON begins with a heartbeat: Firefox tells a page of an answer with the first byte of its body, and
    /// only JSON has nothing else to begin with. If somebody holds the pen, ends the stream instead, and returns false;
    /// while nobody but the hub knows of this letterbox, nobody does. Never waits.
    pub fn put_before(&self, replay: Replay) -> bool {
        let Some(mut pen) = try_lock(&self.pen) else {
            self.close();
            return false;
        };
        if replay.is_empty() && pen.format == Format::Json {
            pen.break_silence();
        }
        pen.past = replay;
        drop(pen);
        self.ring();
        true
    }

    /// Prefetches the memory that [`post`](Self::post) and [`carry`](Self::carry) will need of this letterbox.
    pub fn look_ahead(&self) {
        std::hint::black_box((self.waiting.load(Ordering::Relaxed), self.letters.is_empty()));
    }

    /// Carries: writes the letters that lie here as far as the socket takes them at once. Never waits for the socket.
    pub fn carry(&self) {
        loop {
            fence(Ordering::SeqCst);
            let waiting = self.waiting.load(Ordering::Relaxed);
            if waiting <= 0 {
                return;
            }
            // If the letterbox is half full, the scheduler has interrupted the holder of the pen for that long. The
            // speakers wait for it then; otherwise they would hang up on a listener that is not slow.
            let pen = if waiting > self.limit / 2 { Some(lock(&self.pen)) } else { try_lock(&self.pen) };
            let Some(mut pen) = pen else { return }; // somebody else writes, and looks again after putting the pen down
            if pen.stuck.is_some() {
                return;
            }
            let wrote = pen.write(self);
            drop(pen);
            if wrote.is_err() {
                return self.ring();
            }
        }
    }

    /// Hangs up on a listener that did not keep up. Its thread is woken even out of a wait for the socket.
    pub fn hang_up(&self) {
        self.state.store(StreamState::HungUp as u8, Ordering::SeqCst);
        self.wire.cut();
        self.ring();
    }

    /// Tells the listener's own thread that nothing more will be posted. Either the server stops, or this server missed
    /// messages, and the listener is told of the gap when it comes back (`Hub::skip`).
    pub fn close(&self) {
        self.state.store(StreamState::Closing as u8, Ordering::SeqCst);
        self.ring();
    }

    fn ring(&self) {
        let _ = self.bell.try_send(()); // full: it is rung already
    }
}

impl Watcher for Letterbox {
    fn peer_left(&self) {
        let (listening, left) = (StreamState::Listening as u8, StreamState::Left as u8);
        let _ = self.state.compare_exchange(listening, left, Ordering::SeqCst, Ordering::SeqCst);
        self.ring();
    }
}

impl Recipient {
    /// Makes a letterbox of `limit` letters and its recipient, for a listener on `wire` that wants `format`, with chunk
    /// framing if `chunked`. `head` goes out first.
    pub fn new(wire: Arc<dyn Wire>, format: Format, chunked: bool, head: Vec<u8>, limit: usize) -> Recipient {
        let (letters, waiting) = unbounded();
        let (bell, rung) = bounded(1);
        let pen = Pen {
            letters: Some(waiting),
            half_sent: head,
            past: Replay::default(),
            begun: false,
            stuck: None,
            last_sent: Instant::now(),
            format,
            chunked,
        };
        let letterbox = Letterbox {
            letters,
            waiting: AtomicI64::new(0),
            bell,
            state: AtomicU8::new(StreamState::Listening as u8),
            pen: Mutex::new(pen),
            wire,
            limit: limit as i64,
        };
        Recipient { letterbox: Arc::new(letterbox), bell: rung }
    }

    /// The letterbox, for the hub.
    pub fn letterbox(&self) -> &Arc<Letterbox> {
        &self.letterbox
    }

    /// How the listener stands: whether its thread goes on, and if not, why.
    pub fn state(&self) -> StreamState {
        use StreamState::{Closing, HungUp, Left, Listening};
        [Listening, Closing, HungUp, Left][usize::from(self.letterbox.state.load(Ordering::SeqCst))]
    }

    /// Writes everything that lies in the letterbox, waiting for the socket as often as needed.
    ///
    /// # Errors
    /// `TimedOut` if the socket took nothing for [`STALL_LIMIT`]; anything else means that the connection is over.
    pub fn write_out(&self) -> io::Result<()> {
        let letterbox = &*self.letterbox;
        loop {
            let wrote = lock(&letterbox.pen).write(letterbox);
            fence(Ordering::SeqCst);
            match wrote {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    letterbox.wire.wait_until_writable(STALL_LIMIT)?
                }
                Ok(()) if letterbox.waiting.load(Ordering::Relaxed) > 0 => {}
                wrote => return wrote,
            }
        }
    }

    /// Sends a heartbeat if nothing was sent for `interval`.
    ///
    /// # Errors
    /// As [`write_out`](Self::write_out).
    pub fn break_silence(&self, interval: Duration) -> io::Result<()> {
        let mut pen = lock(&self.letterbox.pen);
        if pen.half_sent.is_empty() && pen.last_sent.elapsed() >= interval {
            pen.break_silence();
        }
        drop(pen);
        self.write_out()
    }

    /// How long until a heartbeat is due, if nothing is sent before then; zero if there is something to write.
    pub fn silence_left(&self, interval: Duration) -> Duration {
        let silence = lock(&self.letterbox.pen).last_sent.elapsed();
        // This look held the pen, so a speaker may have found it taken and gone on.
        fence(Ordering::SeqCst);
        let is_empty = self.letterbox.waiting.load(Ordering::Relaxed) <= 0;
        if is_empty { interval.saturating_sub(silence) } else { Duration::ZERO }
    }

    /// Writes what lies in the letterbox and ends the stream properly: curl exits 0, an `EventSource` comes back.
    ///
    /// # Errors
    /// As [`write_out`](Self::write_out).
    pub fn finish(&self) -> io::Result<()> {
        self.write_out()?;
        lock(&self.letterbox.pen).end();
        self.write_out()
    }

    /// Ends the stream properly if the socket takes that at once: a client that has closed only its own direction reads
    /// on.
    ///
    /// # Errors
    /// `WouldBlock` if the socket does not take it; anything else means that the connection is over.
    pub fn end_at_once(&self) -> io::Result<()> {
        let mut pen = lock(&self.letterbox.pen);
        pen.write(&self.letterbox)?;
        pen.end();
        pen.write(&self.letterbox)
    }

    /// Asks why the listener has left, if the connection has failed.
    ///
    /// # Errors
    /// The failure, as in [`write_out`](Self::write_out).
    pub fn why_left(&self) -> io::Result<()> {
        match lock(&self.letterbox.pen).stuck {
            None | Some(ErrorKind::WouldBlock) => self.letterbox.wire.failure(),
            Some(kind) => Err(kind.into()),
        }
    }

    /// Closes the pen: nobody writes from now on. True if nothing was written.
    pub fn close_pen(&self) -> bool {
        let mut pen = lock(&self.letterbox.pen);
        pen.letters = None;
        pen.half_sent = Vec::new();
        pen.past = Replay::default();
        !pen.begun
    }
}

impl Drop for Recipient {
    /// Nobody may write to a connection that is about to be closed: its descriptor's number may belong to another one a
    /// moment later.
    fn drop(&mut self) {
        self.close_pen();
    }
}

impl Pen {
    /// Puts a heartbeat behind what goes out next.
    fn break_silence(&mut self) {
        self.half_sent.extend(frame::framed(frame::heartbeat(self.format).to_vec(), self.chunked));
    }

    /// Puts the end of the stream behind what goes out next.
    fn end(&mut self) {
        if self.chunked {
            self.half_sent.extend_from_slice(frame::LAST_CHUNK);
        }
    }

    /// Writes what lies there as far as the socket takes it, and remembers why it did not take all.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full; the rest stays with the pen. Anything else means that the connection is
    /// over.
    fn write(&mut self, letterbox: &Letterbox) -> io::Result<()> {
        if let Some(kind) = self.stuck.filter(|kind| *kind != ErrorKind::WouldBlock) {
            return Err(kind.into());
        }
        let wrote = self.write_until_full(letterbox);
        self.stuck = wrote.as_ref().err().map(io::Error::kind);
        wrote
    }

    /// Writes the half-sent bytes, then earlier messages, then letters, many in one send, until nothing is left or the
    /// socket is full.
    fn write_until_full(&mut self, letterbox: &Letterbox) -> io::Result<()> {
        loop {
            let alone = if self.half_sent.is_empty() { self.gather(letterbox)? } else { None };
            let bytes = alone.as_ref().map_or(&self.half_sent[..], |letter| letter.frame(self.format, self.chunked));
            if bytes.is_empty() {
                return Ok(());
            }
            let sent = letterbox.wire.send_now(bytes);
            let taken = *sent.as_ref().unwrap_or(&0);
            match alone {
                Some(_) => self.half_sent = bytes[taken..].to_vec(),
                None => drop(self.half_sent.drain(..taken)),
            }
            sent?;
            (self.last_sent, self.begun) = (Instant::now(), true);
        }
    }

    /// Takes what goes out next: a piece of the earlier messages, or else letters. A letter that lies there alone is
    /// returned: it goes out as it is, and its bytes are not copied.
    fn gather(&mut self, letterbox: &Letterbox) -> io::Result<Option<Arc<Letter>>> {
        let Some(letters) = &self.letters else { return Err(ErrorKind::NotConnected.into()) }; // closed
        if !self.past.is_empty() {
            self.half_sent = frame::run(&mut self.past, self.format, self.chunked, PIECE_BYTES);
            return Ok(None);
        }
        (self.past, self.half_sent) = (Replay::default(), Vec::new());
        let waiting = letterbox.waiting.load(Ordering::Relaxed);
        let (mut taken, mut alone) = (0, None);
        while taken < waiting && self.half_sent.len() < BATCH_BYTES {
            let Ok(letter) = letters.try_recv() else { break };
            taken += 1;
            if waiting == 1 {
                alone = Some(letter);
            } else {
                self.half_sent.extend_from_slice(letter.frame(self.format, self.chunked));
            }
        }
        letterbox.waiting.fetch_sub(taken, Ordering::Relaxed);
        Ok(alone)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
