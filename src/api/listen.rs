//! `/listen`: a stream of messages, until one side hangs up. Here the listener joins; `room/listener.rs` is the life of
//! its thread.

use std::iter;
use std::mem;

use crate::http::{After, Answer, Ask, Exchange, Refusal, listen_query::EVENT_STREAM};
use crate::journal;
use crate::os::limits::{self, Claim};
use crate::room::letterbox::{PIECE_BYTES, Recipient};
use crate::room::{Format, Refused, frame, listener::Listener};
use crate::text::decimal;

/// The average time that an `EventSource` waits after it was turned away, in milliseconds.
const TURNED_AWAY_RETRY_MS: u32 = 5000;

/// Lets a listener join on `channel`. It first gets the earlier messages that it asks for. New messages reach its
/// letterbox from now on; its stream begins when [`Listener::listen`] is called.
///
/// # Errors
/// The refusal of a bad request, or of one that finds no room.
pub fn listen(exchange: &mut Exchange<'_>, channel: &str) -> Result<After, Refusal> {
    let ask = Ask::read(exchange, channel)?;
    let heartbeat = decimal(exchange.config.heartbeat.as_secs_f64());
    let headers = format!("{}Aloud-Heartbeat: {heartbeat}\r\n", ask.headers("no-cache"));
    if exchange.request.method == "HEAD" {
        return Ok(exchange.answer_in_pieces(&headers, iter::empty()));
    }
    let mut head = exchange.endless_head(&headers);
    head.extend_from_slice(&frame::framed(frame::opening(ask.format), exchange.request.http11));
    let socket = exchange.socket.clone();
    let recipient = Recipient::new(socket.clone(), ask.format, exchange.request.http11, head, exchange.config.queue);
    let claim = ask.since.map(|_| claim_replay()).transpose()?;
    exchange.hub.join(ask.wants, ask.since, recipient.letterbox()).inspect_err(|refused| {
        if *refused == Refused::Full {
            journal::FULL.warn(format_args!("turned {} away: as many listen as may", exchange.peer()));
        }
    })?;
    let peer = exchange.peer();
    log::debug!("{peer} listens");
    let listener = Listener::new(recipient, socket, peer, claim); // from here on only the pen's holder writes
    Ok(After::Listen(Box::new(listener), Some(Box::new(mem::take(&mut exchange.request)))))
}

/// Whether a request to `/listen` asks for server-sent events.
pub fn wants_events(exchange: &Exchange<'_>) -> bool {
    exchange.request.method == "GET" && Ask::read(exchange, "").is_ok_and(|ask| ask.format == Format::Sse)
}

/// Tells an `EventSource` that is refused to come back later. It gives up for good on any status but 200 (WHATWG HTML
/// section 9.2.3).
pub fn turn_away(exchange: &mut Exchange<'_>, refusal: &Refusal) -> After {
    exchange.hub.counters().refused(refusal.status);
    let body = format!(": {}\nretry: {}\n", refusal.line, frame::retry_ms(TURNED_AWAY_RETRY_MS));
    exchange.request.closes = true;
    exchange.answer(Answer::new(200, EVENT_STREAM, body))
}

/// Claims the memory that a slow client holds while it is sent earlier messages.
///
/// # Errors
/// As [`claim`].
pub fn claim_replay() -> Result<Claim, Refusal> {
    claim(PIECE_BYTES + limits::unsent_bytes() as usize)
}

/// Claims the memory that a slow client holds while it is sent an answer of so many `bytes`.
///
/// # Errors
/// 503 if the budget is used up.
pub fn claim(bytes: usize) -> Result<Claim, Refusal> {
    Claim::of(bytes).ok_or_else(|| Refusal::busy("no memory is left to tell what was said"))
}
