//! One listener's letterbox, bell and pen: how a message gets onto a listener's socket without anybody waiting for it.
//!
//! ```text
//!   hub, under its lock ──post──▶ letters ──┐
//!                                           ├──▶ whoever holds the pen ──send──▶ socket
//!                        what is half sent ─┘
//!        a speaker: carry()        tries the pen, never waits; where the socket is full, rings the bell and goes on
//!        the listener's own thread: write_out()   takes the pen, and waits for the socket
//! ```
//!
//! A listener's own thread costs two context switches each time it is woken, more than the write it is woken for. So
//! it sleeps, and the speaker that has just said something lends a hand: it writes what it can to every listener
//! itself, with sends that never wait. Only where a socket would make it wait does it ring the bell, and the listener's
//! own thread, whose time is its own, does the waiting. Nobody holds a pen while waiting for a socket.
//!
//! **No letter is left lying.** Posting puts a letter in, then tries the pen; the holder of the pen puts it down, then
//! looks into the letterbox. A full memory fence stands between the two steps on both sides, so at least one of the
//! two sees what the other did: either the pen is free for the one who posted, or the one who held it sees the letter.
//! Take either fence away and the model check at the end of this file fails.
//!
//! **The order holds.** Letters are taken out only by the holder of the pen and go out before the pen is put down, or
//! stay with the pen as half sent.

use std::io;
use std::time::{Duration, Instant};

use crate::frame::{self, Format, Letter};
use crate::sync::{Arc, AtomicU8, Mutex, Ordering, Receiver, Sender, bounded, fence, lock, try_lock, unbounded};

/// Letters gathered into one send, in bytes: enough to make the system call cheap, little enough for a small stack of
/// waiting listeners.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a listener's own thread waits for a socket that takes nothing at all before it gives the listener up. With
/// the heartbeat (15 s) before it, a machine that vanished is noticed within 27 s.
pub const STALL_LIMIT: Duration = Duration::from_secs(12);

/// The sending side of a connection, as the pen sees it: a socket, or what stands in for one.
pub trait Wire: Send + Sync {
    /// Sends what the socket takes at once and returns how many bytes that was.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing now; anything else means that the connection is over.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until the socket takes something again. Only the listener's own thread calls it.
    ///
    /// # Errors
    /// `TimedOut` where it does not within `limit`; anything else means that the connection is over.
    fn wait_until_writable(&self, limit: Duration) -> io::Result<()>;

    /// Ends the connection, from whichever thread: a wait for it ends, sends fail.
    fn cut(&self);
}

/// What the hub and the speakers hold of a listener.
pub struct Letterbox {
    /// Sent to by the hub alone, under its lock; received by the holder of the pen. Unbounded to crossbeam, because a
    /// bounded channel allocates all its slots at once (6 KiB for each listener), but bounded by [`post`](Self::post).
    /// Disconnected when the listener's thread has closed the pen.
    letters: Sender<Arc<Letter>>,
    /// Rung by whoever wants the listener's own thread to look; capacity one, as a bell rung twice is rung.
    bell: Sender<()>,
    /// Why the listener has to go, if it has to: one of [`Standing`].
    standing: AtomicU8,
    pen: Mutex<Pen>,
    wire: Box<dyn Wire>,
    /// The most letters that may lie here.
    limit: usize,
}

/// Held by whoever writes to the listener's socket.
struct Pen {
    /// Where the holder takes letters from; `None` once the pen is closed, which tells the hub that nobody reads.
    letters: Option<Receiver<Arc<Letter>>>,
    /// Bytes that stand before every letter: the head of the answer at first, later what a full socket did not take.
    half_sent: Vec<u8>,
    /// The socket is full and the bell is rung: the listener's own thread waits, then writes all that lies there.
    stalled: bool,
    /// When the last byte went out, for the heartbeat.
    last_sent: Instant,
    format: Format,
    chunked: bool,
}

/// What the listener's own thread holds. The bell's receiver is its own: it is what the thread sleeps on.
pub struct Owner {
    letterbox: Arc<Letterbox>,
    /// Received from by the listener's own thread alone; sent to by speakers, the hub's hang-ups, and the stop.
    bell: Receiver<()>,
}

/// How a listener stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It hears what is said.
    Listening,
    /// The server stops: what is in the letterbox is delivered, then the stream ends properly.
    Closing,
    /// It did not keep up and is hung up on.
    HungUp,
}

/// What became of a letter that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It lies in the letterbox.
    Put,
    /// The letterbox holds as many letters as it may.
    Full,
    /// Nobody reads this letterbox any more.
    Gone,
}

/// Where writing stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    /// Everything that lay there.
    All,
    /// What the socket took; the rest stays with the pen.
    Some,
    /// The pen is closed.
    Closed,
}

impl Letterbox {
    /// A letterbox of `limit` letters for a listener on `wire` that wants `format`, in chunks or not. `head` goes out
    /// first.
    pub fn new(wire: Box<dyn Wire>, format: Format, chunked: bool, head: Vec<u8>, limit: usize) -> Owner {
        let (letters, waiting) = unbounded();
        let (bell, rung) = bounded(1);
        let (half_sent, last_sent) = (head, Instant::now());
        let pen = Mutex::new(Pen { letters: Some(waiting), half_sent, stalled: false, last_sent, format, chunked });
        let standing = AtomicU8::new(Standing::Listening as u8);
        Owner { letterbox: Arc::new(Letterbox { letters, bell, standing, pen, wire, limit }), bell: rung }
    }

    /// Puts a letter in, if fewer than the limit lie there. Never waits. Only the hub posts, under its lock, so the count
    /// cannot grow between the look and the send, and all letterboxes hold their letters in one order.
    pub fn post(&self, letter: &Arc<Letter>) -> Posted {
        if self.letters.len() >= self.limit {
            return Posted::Full;
        }
        match self.letters.send(letter.clone()) {
            Ok(()) => Posted::Put,
            Err(_) => Posted::Gone,
        }
    }

    /// Lends a hand: writes what lies here as far as the socket takes it at once. Never waits for the socket. `buffer`
    /// is scratch space, so that a walk along a thousand letterboxes allocates once.
    pub fn carry(&self, buffer: &mut Vec<u8>) {
        loop {
            fence(Ordering::SeqCst);
            let waiting = self.letters.len();
            if waiting == 0 {
                return;
            }
            let mut pen = if waiting <= self.limit / 2 {
                // Somebody else writes, and looks again after putting the pen down.
                let Some(pen) = try_lock(&self.pen) else { return };
                pen
            } else {
                // Whoever holds the pen was interrupted by the scheduler for so long that the letterbox is half full.
                // Let the speakers wait for that thread rather than have them hang up on a listener that is not slow.
                lock(&self.pen)
            };
            if pen.stalled {
                return;
            }
            let wrote = pen.write(&*self.wire, buffer);
            drop(pen);
            match wrote {
                Ok(Wrote::All) => {} // look again
                Ok(Wrote::Closed) => return,
                Ok(Wrote::Some) | Err(_) => return self.ring(),
            }
        }
    }

    /// Hangs up on a listener that did not keep up: its thread is woken even out of a wait for the socket.
    pub fn hang_up(&self) {
        self.standing.store(Standing::HungUp as u8, Ordering::SeqCst);
        self.wire.cut();
        self.ring();
    }

    /// Tells the listener's own thread that nothing more will be posted, because the server stops.
    pub fn close(&self) {
        self.standing.store(Standing::Closing as u8, Ordering::SeqCst);
        self.ring();
    }

    fn ring(&self) {
        let _ = self.bell.try_send(()); // full: it is rung already
    }
}

impl Owner {
    /// The other side, for the hub.
    pub fn letterbox(&self) -> &Arc<Letterbox> {
        &self.letterbox
    }

    /// Whether to go on, and why not.
    pub fn standing(&self) -> Standing {
        match self.letterbox.standing.load(Ordering::SeqCst) {
            standing if standing == Standing::Closing as u8 => Standing::Closing,
            standing if standing == Standing::HungUp as u8 => Standing::HungUp,
            _ => Standing::Listening,
        }
    }

    /// Writes everything that lies in the letterbox, waiting for the socket as often as needed.
    ///
    /// # Errors
    /// `TimedOut` where the socket took nothing for [`STALL_LIMIT`]; anything else means that the connection is over.
    pub fn write_out(&self) -> io::Result<()> {
        let letterbox = &*self.letterbox;
        let mut buffer = Vec::new();
        loop {
            let wrote = lock(&letterbox.pen).write(&*letterbox.wire, &mut buffer)?;
            if wrote == Wrote::Some {
                letterbox.wire.wait_until_writable(STALL_LIMIT)?;
                continue;
            }
            fence(Ordering::SeqCst);
            if letterbox.letters.is_empty() {
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
                let heartbeat = frame::heartbeat(pen.format);
                pen.half_sent = if pen.chunked { frame::chunk(heartbeat) } else { heartbeat.to_vec() };
            }
        }
        self.write_out()
    }

    /// How long until a heartbeat is due, if nothing is sent before then.
    pub fn silence_left(&self, interval: Duration) -> Duration {
        interval.saturating_sub(lock(&self.letterbox.pen).last_sent.elapsed())
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

    /// Sleeps until the bell is rung, at most for `limit`. A bell rung before ends the sleep at once.
    #[cfg(not(loom))]
    pub fn sleep(&self, limit: Duration) {
        // `recv_timeout` would spin and yield before it parks, which among a thousand sleepers costs as much as the
        // delivery; `Select` parks at once.
        let mut bell = crossbeam_channel::Select::new();
        bell.recv(&self.bell);
        if bell.ready_timeout(limit).is_ok() {
            let _ = self.bell.try_recv();
        }
    }
}

impl Drop for Owner {
    /// Closes the pen, so that nobody writes to a connection that is about to be let go: its descriptor's number may
    /// be somebody else's a moment later.
    fn drop(&mut self) {
        let mut pen = lock(&self.letterbox.pen);
        pen.letters = None;
        pen.half_sent = Vec::new();
    }
}

impl Pen {
    /// Writes what lies there as far as the socket takes it, and remembers whether it took all.
    fn write(&mut self, wire: &dyn Wire, buffer: &mut Vec<u8>) -> io::Result<Wrote> {
        let wrote = self.write_until_full(wire, buffer);
        self.stalled = !matches!(wrote, Ok(Wrote::All));
        wrote
    }

    /// Writes what is half sent, then letters, many in one send, until there are no more or the socket is full.
    fn write_until_full(&mut self, wire: &dyn Wire, buffer: &mut Vec<u8>) -> io::Result<Wrote> {
        let Some(letters) = &self.letters else { return Ok(Wrote::Closed) };
        while !self.half_sent.is_empty() {
            match send(wire, &self.half_sent, &mut self.last_sent)? {
                0 => return Ok(Wrote::Some),
                sent => self.half_sent.drain(..sent),
            };
        }
        self.half_sent = Vec::new();
        loop {
            buffer.clear();
            while buffer.len() < BATCH_BYTES {
                let Ok(letter) = letters.try_recv() else { break };
                let frame = letter.frame(self.format);
                buffer.extend_from_slice(if self.chunked { frame.chunk() } else { frame.payload() });
            }
            if buffer.is_empty() {
                return Ok(Wrote::All);
            }
            let sent = send(wire, buffer, &mut self.last_sent);
            let taken = *sent.as_ref().unwrap_or(&0);
            if taken < buffer.len() {
                // After an error too: the listener's own thread tries again and so learns of it.
                self.half_sent = buffer[taken..].to_vec();
                return sent.map(|_| Wrote::Some);
            }
        }
    }
}

/// How many of `bytes` the wire took; zero where it takes none now.
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
