//! The gate: it reads a client's bytes, and lets only whole, well-formed requests through. tiny_http, which trusts its
//! clients, reads none of them.
//!
//! No thread waits for a client here. An incomplete request stays with its connection, which waits without a thread.
//! Requests sent ahead (pipelining) stay there too, and are answered in order.

use std::io::{self, ErrorKind};

use crate::http::framing::{Arrived, Intake, Progress, Stage};
use crate::http::refusal::{RETRY_AFTER, Refusal};
use crate::net::socket::Socket;
use crate::os::limits::Claim;
use crate::room::wire::Wire;

/// Bytes taken from a socket at once.
const BLOCK: usize = 16 * 1024;

/// The result of a look at a connection.
pub enum Look {
    /// No whole request yet.
    NotYet(Stage),
    /// A whole request.
    Whole(Arrived),
    /// A request to be answered with this refusal, and the connection to be closed. The answer has no body if the flag
    /// is set.
    Refused(Refusal, bool),
    /// The client has closed the connection.
    Ended,
}

/// A thread's buffer for bytes from a socket, lent to one connection after the other.
pub type Hand = Vec<u8>;

/// The gate's state of one connection.
#[derive(Default)]
pub struct Gate {
    intake: Intake,
    /// Whether the kernel had no more bytes: the last time it gave less than there was room for.
    drained: bool,
    /// The memory claimed for an incomplete body.
    claim: Claim,
}

impl Gate {
    /// Looks for the next request on `socket`. Never waits. `most_body` is the longest body for a path, in bytes.
    pub fn look(&mut self, socket: &Socket, hand: &mut Hand, most_body: &dyn Fn(&str) -> usize) -> Look {
        let look = self.try_look(socket, hand, most_body).unwrap_or(Look::Ended); // the connection is broken
        self.lay_down(hand);
        look
    }

    fn try_look(&mut self, socket: &Socket, hand: &mut Hand, most_body: &dyn Fn(&str) -> usize) -> io::Result<Look> {
        let mut received = None;
        loop {
            let is_head = self.intake.received().starts_with(b"HEAD ");
            let stage = match self.intake.next(most_body) {
                Ok(Progress::Whole(arrived)) => {
                    self.claim = Claim::default();
                    return Ok(Look::Whole(arrived));
                }
                Ok(Progress::NotYet(Stage::Body)) if !self.claim.grow_to(self.intake.held()) => {
                    let refusal = Refusal::new(503, "no memory is left for this body; try again in a moment");
                    return Ok(Look::Refused(refusal.with("Retry-After", RETRY_AFTER), is_head));
                }
                Ok(Progress::NotYet(stage)) => stage,
                Err(refusal) => return Ok(Look::Refused(refusal, is_head)),
            };
            match received {
                Some(0) if stage == Stage::Idle => return Ok(Look::Ended),
                Some(0) => return Ok(Look::Refused(cut_off(), is_head)),
                // The end of a connection is told once, so it has to be looked for now.
                Some(_) if self.drained && !socket.has_peer_left() => return Ok(self.not_yet(socket, stage)),
                _ => {}
            }
            received = match self.receive(socket, hand) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.drained = true;
                    return Ok(self.not_yet(socket, stage));
                }
                length => Some(length?),
            };
        }
    }

    fn not_yet(&mut self, socket: &Socket, stage: Stage) -> Look {
        if self.intake.is_to_be_asked() {
            let _ = socket.send_now(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Look::NotYet(stage)
    }

    /// Whether there may be bytes that no new arrival will be told of.
    pub fn may_hold_more(&self) -> bool {
        !self.drained || !self.intake.is_empty()
    }

    /// Whether the client has sent more than was answered.
    pub fn holds_more(&self) -> bool {
        !self.intake.is_empty()
    }

    fn receive(&mut self, socket: &Socket, hand: &mut Hand) -> io::Result<usize> {
        let received = self.intake.received();
        if received.is_empty() {
            std::mem::swap(received, hand);
            received.clear();
        }
        received.reserve(BLOCK);
        let (before, room) = (received.len(), received.capacity());
        socket.receive(received)?;
        let length = received.len() - before;
        self.drained = received.len() < room;
        Ok(length)
    }

    /// Keeps the remaining bytes in a buffer of their own size, and gives the thread's buffer back.
    fn lay_down(&mut self, hand: &mut Hand) {
        let received = self.intake.received();
        if received.capacity() == received.len() {
            return;
        }
        let own = received.to_vec();
        let buffer = std::mem::replace(received, own);
        if hand.capacity() == 0 && buffer.capacity() <= 2 * BLOCK {
            *hand = buffer;
        }
    }
}

fn cut_off() -> Refusal {
    Refusal::new(400, "the request ended early; send all of it and wait for the answer")
}
