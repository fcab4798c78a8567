//! `/listen`: a stream of messages, until one side hangs up. Here the listener joins; `room/listener.rs` is the life of
//! its thread.

use crate::http::{After, Answer, Ask, Exchange, Refusal, listen_query::EVENT_STREAM};
use crate::journal;
use crate::os::limits::{self, Claim};
use crate::room::letterbox::{PIECE_BYTES, Recipient};
use crate::room::{Format, Refused, frame, listener::Listener};

/// The average time that an `EventSource` waits after it was turned away, in milliseconds.
const TURNED_AWAY_RETRY_MS: u32 = 5000;

/// Lets a listener join on `channel`. It first gets the earlier messages that it asks for. New messages reach its
/// letterbox from now on; its stream begins when [`Listener::listen`] is called.
pub fn listen(exchange: Exchange<'_>, channel: &str) -> After {
    let (exchange, ask) = match Ask::receive(exchange, channel) {
        Ok(received) => received,
        Err(answered) => return answered,
    };
    let mut head = exchange.endless_head(&ask.headers());
    head.extend_from_slice(&frame::framed(frame::opening(ask.format), exchange.request.http11));
    let socket = exchange.socket.clone();
    let recipient = Recipient::new(socket.clone(), ask.format, exchange.request.http11, head, exchange.config.queue);
    let claim = ask.since.and_then(|_| claim_replay());
    if claim.is_none() && ask.since.is_some() {
        return turn_away(exchange, &no_memory(), "full", ask.format);
    }
    match exchange.hub.join(ask.wants, ask.since, recipient.letterbox()) {
        Ok(()) => {}
        Err(Refused::Full) => {
            journal::FULL.warn(format_args!("turned {} away: as many listen as may", exchange.peer()));
            return turn_away(exchange, &Refusal::from(Refused::Full), "full", ask.format);
        }
        Err(refused) => return turn_away(exchange, &Refusal::from(refused), "stopping", ask.format),
    }
    let peer = exchange.peer();
    log::debug!("{peer} listens");
    drop(exchange); // from here on only the holder of the pen writes
    After::Listen(Box::new(Listener::new(recipient, socket, peer, claim)))
}

/// An `EventSource` gives up for good on any status but 200 (WHATWG HTML section 9.2.3), so it gets a 200 that tells it
/// to come back later; everyone else gets a 503.
fn turn_away(mut exchange: Exchange<'_>, refusal: &Refusal, why: &str, format: Format) -> After {
    if format == Format::Sse {
        exchange.hub.counters().refused(503); // also if an EventSource gets a 200
        let body = format!(": {why}\nretry: {}\n", frame::retry_ms(TURNED_AWAY_RETRY_MS));
        exchange.request.closes = true;
        return exchange.answer(Answer::new(200, EVENT_STREAM, body));
    }
    exchange.refuse(refusal)
}

/// Claims the memory that a slow client holds while it is sent earlier messages; `None` if the budget is used up.
pub fn claim_replay() -> Option<Claim> {
    Claim::of(PIECE_BYTES + limits::unsent_bytes() as usize)
}

/// The refusal of a client for whose answer there is no memory now.
pub fn no_memory() -> Refusal {
    Refusal::busy("no memory is left to tell what was said")
}
