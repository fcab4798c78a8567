//! The gate: it reads a client's bytes, and lets only whole, well-formed requests through. tiny_http, which trusts its
//! clients, reads none of them.
//!
//! No thread waits for a client here. An incomplete request stays with its connection, which waits without a thread.
//! Requests sent ahead (pipelining) stay there too, and are answered in order.

use std::io::{self, ErrorKind};

use crate::http::framing::{Intake, Progress, Stage};
use crate::http::head::BodyLimit;
use crate::http::refusal::Refusal;
use crate::http::request::Request;
use crate::net::socket::Socket;
use crate::os::limits::Claim;
use crate::room::Wire;

/// The state of a connection at the gate.
pub enum Polled {
    /// No whole request yet.
    NotYet(Stage),
    /// A whole request.
    Whole(Request),
    /// A [request](Intake::take_refused) to be answered with this refusal, and the connection to be closed.
    Refused(Refusal),
    /// The client has closed the connection.
    Ended,
}

/// The gate's state of one connection.
#[derive(Default)]
pub struct Gate {
    /// The bytes that have come.
    pub intake: Intake,
    /// Whether the kernel had no more bytes the last time. Without it a request takes one more system call: 16
    /// connections flat out make 0.89 of the requests.
    drained: bool,
    /// The memory claimed for an incomplete body.
    claim: Claim,
}

impl Gate {
    /// Looks for the next request on `socket`. Never waits. `most_body` is the limit of a body for a path.
    pub fn poll(&mut self, socket: &Socket, most_body: &dyn Fn(&str) -> BodyLimit) -> Polled {
        let polled = self.try_poll(socket, most_body).unwrap_or(Polled::Ended); // the connection is broken
        self.intake.received.shrink_to_fit(); // it may wait for long
        polled
    }

    fn try_poll(&mut self, socket: &Socket, most_body: &dyn Fn(&str) -> BodyLimit) -> io::Result<Polled> {
        let mut received = None;
        loop {
            let stage = match self.intake.next(most_body) {
                Ok(Progress::Whole(mut request)) => {
                    self.claim = Claim::default();
                    request.more_behind = self.holds_more();
                    return Ok(Polled::Whole(request));
                }
                Ok(Progress::NotYet(Stage::Body)) if !self.claim.grow_to(self.intake.held()) => {
                    return Ok(Polled::Refused(Refusal::busy("no memory is left for this body")));
                }
                Ok(Progress::NotYet(stage)) => stage,
                Err(refusal) => return Ok(Polled::Refused(refusal)),
            };
            match received {
                Some(0) if stage == Stage::Idle => return Ok(Polled::Ended),
                Some(0) => return Ok(Polled::Refused(cut_off())),
                // The end of a connection is told once, so it has to be looked for now.
                Some(_) if self.drained && !socket.has_peer_left() => return Ok(self.not_yet(socket, stage)),
                _ => {}
            }
            received = match socket.receive(&mut self.intake.received) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.drained = true;
                    return Ok(self.not_yet(socket, stage));
                }
                length => Some(length?),
            };
            self.drained = received < Some(Socket::BLOCK);
        }
    }

    fn not_yet(&mut self, socket: &Socket, stage: Stage) -> Polled {
        if self.intake.is_to_be_asked() {
            let _ = socket.send_now(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Polled::NotYet(stage)
    }

    /// Whether there may be bytes that no new arrival will be told of.
    pub fn may_hold_more(&self) -> bool {
        !self.drained || self.holds_more()
    }

    /// Whether the client has sent more than was answered.
    pub fn holds_more(&self) -> bool {
        !self.intake.is_empty()
    }
}

fn cut_off() -> Refusal {
    Refusal::bad("the request ended early; send all of it and wait for the answer")
}
