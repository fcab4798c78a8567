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

/// A listener that has joined and whose stream is yet to be written. It has all that its own thread needs, and nothing
/// of the request, whose memory would be kept for as long as it listens.
pub struct Listener {
    owner: Recipient,
    number: u64,
    wire: Arc<dyn Wire>,
    peer: String,
    /// Held until all earlier messages are sent.
    claim: Option<Claim>,
}

impl Listener {
    /// A listener that has joined the hub with this `number`; `peer` is its name in the log, `claim` the memory that it
    /// needs for earlier messages. From now on its thread is told when the client leaves.
    pub fn new(owner: Recipient, number: u64, wire: Arc<dyn Wire>, peer: String, claim: Option<Claim>) -> Listener {
        wire.watch(Some(owner.letterbox().clone()));
        Listener { owner, number, wire, peer, claim }
    }

    /// Streams messages, and a sign of life after each `heartbeat` of silence, until the listener leaves, is hung up
    /// on, or the server stops.
    pub fn listen(&mut self, hub: &Hub, heartbeat: Duration) {
        let ended = self.hear(heartbeat);
        self.leave(hub);
        hub.counters().ended(self.say_why(ended));
    }

    /// Undoes the join of a listener that gets no thread; its connection is the caller's then. True if nothing of the
    /// stream has gone out.
    pub fn give_up(&self, hub: &Hub) -> bool {
        self.leave(hub);
        self.owner.close_pen()
    }

    fn leave(&self, hub: &Hub) {
        self.wire.watch(None);
        hub.leave(self.number);
    }

    fn hear(&mut self, heartbeat: Duration) -> io::Result<()> {
        let owner = &self.owner;
        owner.write_out()?; // the head leaves at once, then earlier messages
        self.claim = None;
        loop {
            owner.sleep(owner.silence_left(heartbeat));
            match owner.standing() {
                StreamState::Listening => owner.break_silence(heartbeat)?,
                StreamState::Closing => return owner.finish(),
                StreamState::Left => return owner.why_left(),
                StreamState::HungUp => return Ok(()),
            }
        }
    }

    fn say_why(&self, ended: io::Result<()>) -> Ended {
        let peer = &self.peer;
        match (self.owner.standing(), ended) {
            (StreamState::HungUp, _) => {
                journal::SLOW_LISTENERS
                    .warn(format_args!("hung up on {peer}: {} messages waited for it", self.owner.limit()));
                Ended::QueueFull
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                let seconds = STALL_LIMIT.as_secs();
                journal::SLOW_LISTENERS.warn(format_args!("hung up on {peer}: it took nothing for {seconds} s"));
                Ended::Stalled
            }
            (_, Err(error)) => {
                log::debug!("{peer} has left: {error}");
                Ended::Left
            }
            (StreamState::Left, Ok(())) => {
                log::debug!("{peer} has left");
                Ended::Left
            }
            (_, Ok(())) => {
                log::debug!("{peer} heard everything");
                Ended::Stopped
            }
        }
    }
}
