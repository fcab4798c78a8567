//! The life of a listener's own thread. It sleeps on its bell, while speakers carry the messages (see
//! `room/letterbox.rs`). It wakes to wait for a full socket, to break a long silence, and to go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Ended;
use crate::journal;
use crate::os::limits::Claim;
use crate::room::hub::Hub;
use crate::room::letterbox::{Recipient, StreamState};
use crate::room::wire::{STALL_LIMIT, Wire};
use crate::sync::sleep_until_rung;

/// A listener that has joined and whose stream is yet to be written. It has all that its own thread needs, and nothing
/// of the request, whose memory would be kept for as long as it listens.
pub struct Listener {
    recipient: Recipient,
    wire: Arc<dyn Wire>,
    peer: String,
    /// Held until all earlier messages are sent.
    claim: Option<Claim>,
}

impl Listener {
    /// A listener that has joined the hub. `peer` is its name in the log, and `claim` is the memory that it needs for
    /// earlier messages. From now on its thread is told when the client leaves.
    pub fn new(recipient: Recipient, wire: Arc<dyn Wire>, peer: String, claim: Option<Claim>) -> Listener {
        wire.watch(Some(recipient.letterbox().clone()));
        Listener { recipient, wire, peer, claim }
    }

    /// Streams messages, and a sign of life after each `heartbeat` of silence, until the listener leaves, is hung up
    /// on, or the server stops.
    pub fn listen(&mut self, hub: &Hub, heartbeat: Duration) {
        let mut ended = self.hear(heartbeat);
        self.leave(hub); // nothing more is posted, so nothing follows the end of the stream
        if ended.is_ok() && self.recipient.state() == StreamState::Left {
            ended = self.recipient.end_at_once();
        }
        hub.counters().ended(self.say_why(ended));
    }

    /// Undoes the join of a listener that gets no thread; its connection is the caller's then. True if nothing of the
    /// stream has gone out.
    pub fn give_up(&self, hub: &Hub) -> bool {
        self.leave(hub);
        self.recipient.close_pen()
    }

    fn leave(&self, hub: &Hub) {
        self.wire.watch(None);
        hub.leave(self.recipient.letterbox());
    }

    fn hear(&mut self, heartbeat: Duration) -> io::Result<()> {
        let recipient = &self.recipient;
        recipient.write_out()?; // the head leaves at once, then earlier messages
        self.claim = None;
        loop {
            sleep_until_rung(&recipient.bell, recipient.silence_left(heartbeat));
            match recipient.state() {
                StreamState::Listening => recipient.break_silence(heartbeat)?,
                StreamState::Closing => return recipient.finish(),
                StreamState::Left => return recipient.why_left(),
                StreamState::HungUp => return Ok(()),
            }
        }
    }

    fn say_why(&self, ended: io::Result<()>) -> Ended {
        let (peer, limit, seconds) = (&self.peer, self.recipient.letterbox().limit, STALL_LIMIT.as_secs());
        let (why, line) = match (self.recipient.state(), ended) {
            (StreamState::HungUp, _) => {
                (Ended::QueueFull, format!("hung up on {peer}: {limit} messages waited for it"))
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                (Ended::Stalled, format!("hung up on {peer}: it took nothing for {seconds} s"))
            }
            (_, Err(error)) => (Ended::Left, format!("{peer} has left: {error}")),
            (StreamState::Left, Ok(())) => (Ended::Left, format!("{peer} has left")),
            (_, Ok(())) => (Ended::Stopped, format!("{peer} heard everything")),
        };
        match why {
            Ended::QueueFull | Ended::Stalled => journal::SLOW_LISTENERS.warn(line),
            Ended::Left | Ended::Stopped => log::debug!("{line}"),
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::frame::Format;
    use crate::room::memory_wire::{MemoryWire, letter};

    #[test]
    fn nobody_writes_after_the_pen_is_closed_and_its_owner_knows_whether_anybody_did() {
        for (room, text) in [(0, ""), (3, "hea"), (usize::MAX, "head\r\none\r\n")] {
            let wire = MemoryWire::new(room);
            let recipient = Recipient::new(wire.clone(), Format::Lines, false, b"head\r\n".to_vec(), 8);
            recipient.letterbox().post(&letter("one"));
            recipient.letterbox().carry();
            assert_eq!((recipient.close_pen(), wire.text().as_str()), (text.is_empty(), text));
            wire.wait_until_writable(Duration::ZERO).unwrap(); // makes room
            recipient.letterbox().post(&letter("two"));
            recipient.letterbox().carry();
            assert_eq!(wire.text(), text);
        }
    }

    #[test]
    fn the_owner_learns_of_a_connection_that_a_helping_hand_found_broken() {
        let wire = MemoryWire::new(usize::MAX);
        let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], 8);
        wire.break_with(io::ErrorKind::TimedOut);
        recipient.letterbox().post(&letter("one"));
        recipient.letterbox().carry();
        sleep_until_rung(&recipient.bell, Duration::from_secs(60)); // returns at once
        assert_eq!(recipient.write_out().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
