//! `/listen`: a stream of messages, until one side hangs up. The listener's own thread sleeps on its bell; speakers
//! carry what is said (see `letterbox.rs`). It wakes to wait for a full socket, to break a long silence, and to go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::ask::Ask;
use crate::exchange::{After, Answer, Exchange};
use crate::frame::{self, Format};
use crate::history::Since;
use crate::hub::{Hub, Refused};
use crate::journal;
use crate::letterbox::{Owner, STALL_LIMIT, Standing, Wire};
use crate::route::refusal_of;
use crate::socket::Writer;

/// How long an `EventSource` that was turned away waits before it tries again, in milliseconds, on average.
const TURNED_AWAY_RETRY_MS: u32 = 5000;

/// Streams what is said on `channel`, and first what was said before as far as it is asked for, until the listener leaves, is hung up on, or the server stops. Where `spare_thread`
/// is false nobody else is left to accept connections, so this thread must not be a listener's.
pub fn listen(exchange: Exchange<'_>, channel: &str, hub: &Hub, spare_thread: bool) -> After {
    let (queue, heartbeat) = (exchange.config().queue, exchange.config().heartbeat);
    let ask = match Ask::read(&exchange, channel) {
        Ok(ask) => ask,
        Err(refusal) => return exchange.refuse(&refusal),
    };
    if *exchange.method() == tiny_http::Method::Head {
        return exchange.answer_head(&ask.headers());
    }
    let mut head = exchange.stream_head(&ask.headers());
    head.extend_from_slice(&frame::framed(frame::opening(ask.format), exchange.chunked()));
    let writer = Arc::new(Writer::default());
    let wire: Arc<dyn Wire> = match exchange.socket() {
        Some(socket) => socket.clone(),
        None => writer.clone(),
    };
    let owner = Owner::new(wire, ask.format, exchange.chunked(), head, queue);
    let since = ask.since.unwrap_or(Since::NOW);
    let joined = if spare_thread { hub.join(ask.wants, since, owner.letterbox().clone()) } else { Err(Refused::Full) };
    let number = match joined {
        Ok(number) => number,
        Err(refused) => return turn_away(exchange, refused, ask.format),
    };
    let peer = exchange.peer();
    log::debug!("{peer} listens");
    // From here on only whoever holds the pen writes. Where that is to the socket, the request is kept meanwhile: to give
    // it up takes a page of stack more, which every listener would then occupy for good.
    let exchange = match exchange.socket() {
        Some(_) => Some(exchange),
        None => {
            writer.set(Some(exchange.into_writer()));
            None
        }
    };
    let ended = hear(&owner, heartbeat);
    hub.leave(number);
    say_why(&peer, owner.standing(), ended, queue);
    drop(owner);
    writer.set(None);
    if let Some(exchange) = exchange {
        exchange.leave_unanswered();
    }
    After::Close
}

fn hear(owner: &Owner, heartbeat: Duration) -> io::Result<()> {
    owner.write_out()?; // the head leaves at once, and what was said before
    loop {
        owner.sleep(owner.silence_left(heartbeat));
        match owner.standing() {
            Standing::Listening => owner.break_silence(heartbeat)?,
            Standing::Closing => return owner.finish(),
            Standing::HungUp => return Ok(()),
        }
    }
}

fn say_why(peer: &str, standing: Standing, ended: io::Result<()>, queue: usize) {
    match (standing, ended) {
        (Standing::HungUp, _) => {
            journal::SLOW_LISTENERS.warn(format_args!("hung up on {peer}: {queue} messages waited for it"));
        }
        (_, Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            let seconds = STALL_LIMIT.as_secs();
            journal::SLOW_LISTENERS.warn(format_args!("hung up on {peer}: it took nothing for {seconds} s"));
        }
        (_, Err(error)) => log::debug!("{peer} has left: {error}"),
        (_, Ok(())) => log::debug!("{peer} heard everything"),
    }
}

/// An `EventSource` gives up for good on any status but 200 (WHATWG HTML section 9.2.3), so it gets a 200 that tells it
/// to come back later; everyone else gets a 503.
pub fn turn_away(exchange: Exchange<'_>, refused: Refused, format: Format) -> After {
    if refused == Refused::Full {
        journal::FULL.warn(format_args!("turned {} away: as many listen as may", exchange.peer()));
    }
    if format == Format::Sse {
        let why = match refused {
            Refused::Full => "full",
            Refused::Stopping => "stopping",
        };
        let body = format!(": {why}\nretry: {}\n\n", frame::retry_ms(TURNED_AWAY_RETRY_MS));
        return exchange.answer(Answer::new(200, "text/event-stream", body).with("Cache-Control", "no-store"));
    }
    exchange.refuse(&refusal_of(refused))
}
