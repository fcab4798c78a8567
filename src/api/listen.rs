//! `/listen`: a stream of messages, until one side hangs up. The listener's own thread sleeps on its bell, while
//! speakers carry the messages (see `room/letterbox.rs`). It wakes to wait for a full socket, to break a long silence,
//! and to go.

use std::io;
use std::sync::Arc;

use crate::api::route::{RETRY_AFTER, refusal_of};
use crate::config::Config;
use crate::counters::Ended;
use crate::http::exchange::{After, Answer, Exchange, Refusal};
use crate::http::listen_query::{Ask, EVENT_STREAM};
use crate::journal;
use crate::net::socket::Socket;
use crate::os::limits::{self, Claim};
use crate::room::frame::{self, Format};
use crate::room::history::Since;
use crate::room::hub::{Hub, Refused};
use crate::room::letterbox::{Owner, PIECE_BYTES, STALL_LIMIT, Standing};

/// The average time that an `EventSource` waits after it was turned away, in milliseconds.
const TURNED_AWAY_RETRY_MS: u32 = 5000;

/// A listener that has joined and whose stream is yet to be written. It has all that its own thread needs, and nothing
/// of the request, whose memory would be kept for as long as it listens.
pub struct Listener {
    owner: Owner,
    number: u64,
    socket: Arc<Socket>,
    peer: String,
    /// Held until all earlier messages are sent.
    claim: Option<Claim>,
}

/// Lets a listener join on `channel`. It first gets the earlier messages that it asks for. New messages reach its
/// letterbox from now on; its stream begins when [`Listener::listen`] is called.
pub fn listen(exchange: Exchange<'_>, channel: &str, hub: &Hub) -> After {
    let ask = match Ask::read(&exchange, channel) {
        Ok(ask) => ask,
        Err(refusal) => return exchange.refuse(&refusal),
    };
    if exchange.method() == "HEAD" {
        return exchange.answer_head(&ask.headers());
    }
    let mut head = exchange.endless_head(&ask.headers());
    head.extend_from_slice(&frame::framed(frame::opening(ask.format), exchange.chunked()));
    let socket = exchange.socket().clone();
    let owner = Owner::new(socket.clone(), ask.format, exchange.chunked(), head, exchange.config().queue);
    let since = ask.since.unwrap_or(Since::NOW);
    let claim = if since == Since::NOW { None } else { claim_replay() };
    if claim.is_none() && since != Since::NOW {
        return turn_away(exchange, &no_memory(), "full", ask.format, hub);
    }
    let number = match hub.join(ask.wants, since, owner.letterbox().clone()) {
        Ok(number) => number,
        Err(Refused::Full) => {
            journal::FULL.warn(format_args!("turned {} away: as many listen as may", exchange.peer()));
            return turn_away(exchange, &refusal_of(Refused::Full), "full", ask.format, hub);
        }
        Err(refused) => return turn_away(exchange, &refusal_of(refused), "stopping", ask.format, hub),
    };
    let peer = exchange.peer();
    log::debug!("{peer} listens");
    drop(exchange); // from here on only the holder of the pen writes
    socket.watch(Some(owner.letterbox().clone()));
    After::Listen(Box::new(Listener { owner, number, socket, peer, claim }))
}

impl Listener {
    /// Streams messages until the listener leaves, is hung up on, or the server stops.
    pub fn listen(&mut self, hub: &Hub, config: &Config) {
        let ended = self.hear(config);
        self.leave(hub);
        hub.counters().ended(self.say_why(ended, config));
    }

    /// Undoes the join of a listener that gets no thread.
    pub fn leave(&self, hub: &Hub) {
        self.socket.watch(None);
        hub.leave(self.number);
    }

    fn hear(&mut self, config: &Config) -> io::Result<()> {
        let owner = &self.owner;
        owner.write_out()?; // the head leaves at once, then earlier messages
        self.claim = None;
        loop {
            owner.sleep(owner.silence_left(config.heartbeat));
            match owner.standing() {
                Standing::Listening => owner.break_silence(config.heartbeat)?,
                Standing::Closing => return owner.finish(),
                Standing::Left => return owner.why_left(),
                Standing::HungUp => return Ok(()),
            }
        }
    }

    fn say_why(&self, ended: io::Result<()>, config: &Config) -> Ended {
        let peer = &self.peer;
        match (self.owner.standing(), ended) {
            (Standing::HungUp, _) => {
                journal::SLOW_LISTENERS
                    .warn(format_args!("hung up on {peer}: {} messages waited for it", config.queue));
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
            (Standing::Left, Ok(())) => {
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

/// An `EventSource` gives up for good on any status but 200 (WHATWG HTML section 9.2.3), so it gets a 200 that tells it
/// to come back later; everyone else gets a 503.
fn turn_away(exchange: Exchange<'_>, refusal: &Refusal, why: &str, format: Format, hub: &Hub) -> After {
    if format == Format::Sse {
        hub.counters().refused(503); // also if an EventSource gets a 200
        let body = format!(": {why}\nretry: {}\n", frame::retry_ms(TURNED_AWAY_RETRY_MS));
        return exchange.answer_last(Answer::new(200, EVENT_STREAM, body));
    }
    exchange.refuse(refusal)
}

/// Claims the memory that a slow client holds while it is sent earlier messages; `None` if the budget is used up.
pub fn claim_replay() -> Option<Claim> {
    Claim::of(PIECE_BYTES + limits::unsent_bytes() as usize)
}

/// The refusal of a client for whose answer there is no memory now.
pub fn no_memory() -> Refusal {
    Refusal::new(503, "no memory is left to tell what was said; try again in a moment").with("Retry-After", RETRY_AFTER)
}
