//! `/listen`: a stream of messages, until one side hangs up. The listener's own thread sleeps on its bell; speakers
//! carry what is said (see `letterbox.rs`). It wakes to wait for a full socket, to break a long silence, and to go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::exchange::{After, Answer, Exchange, Refusal, TEXT, shown};
use crate::frame::{self, Format};
use crate::hub::{Events, Hub, Refused, Subscription};
use crate::journal;
use crate::letterbox::{Owner, STALL_LIMIT, Standing, Wire};
use crate::message::is_plain_name;
use crate::route::refusal_of;
use crate::socket::Writer;

/// How long an `EventSource` that found the server full waits before it tries again, in milliseconds.
const FULL_RETRY_MS: u32 = 5000;

/// What a listener asks for.
struct Request {
    wants: Subscription,
    format: Format,
    content_type: &'static str,
}

/// Streams what is said on `channel` until the listener leaves, is hung up on, or the server stops. Where `spare_thread`
/// is false nobody else is left to accept connections, so this thread must not be a listener's.
pub fn listen(exchange: Exchange<'_>, channel: &str, hub: &Hub, spare_thread: bool) -> After {
    let (queue, heartbeat) = (exchange.config().queue, exchange.config().heartbeat);
    let request = match Request::read(&exchange, channel) {
        Ok(request) => request,
        Err(refusal) => return exchange.refuse(&refusal),
    };
    if *exchange.method() == tiny_http::Method::Head {
        let headers = request.headers();
        return exchange.answer_head(&headers);
    }
    let mut head = exchange.stream_head(&request.headers());
    let opening = frame::opening(request.format);
    if !opening.is_empty() {
        let opening = opening.into_bytes();
        head.extend_from_slice(&if exchange.chunked() { frame::chunk(&opening) } else { opening });
    }
    let writer = Arc::new(Writer::default());
    let wire: Arc<dyn Wire> = match exchange.socket() {
        Some(socket) => socket.clone(),
        None => writer.clone(),
    };
    let owner = Owner::new(wire, request.format, exchange.chunked(), head, queue);
    let joined = if spare_thread { hub.join(request.wants, owner.letterbox().clone()) } else { Err(Refused::Full) };
    let number = match joined {
        Ok(number) => number,
        Err(refused) => return turn_away(exchange, refused, request.format),
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
    owner.write_out()?; // the head leaves at once
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
fn turn_away(exchange: Exchange<'_>, refused: Refused, format: Format) -> After {
    if refused == Refused::Full {
        journal::FULL.warn(format_args!("turned {} away: as many listen as may", exchange.peer()));
    }
    if format == Format::Sse && refused == Refused::Full {
        let body = format!(": full\nretry: {FULL_RETRY_MS}\n\n");
        return exchange.answer(Answer::new(200, "text/event-stream", body).with("Cache-Control", "no-store"));
    }
    exchange.refuse(&refusal_of(refused))
}

impl Request {
    fn read(exchange: &Exchange<'_>, channel: &str) -> Result<Request, Refusal> {
        if exchange.body_is_unread() {
            return Err(Refusal::new(413, "a body says nothing here; leave it out"));
        }
        let (format, content_type) = match exchange.query_value("as").as_deref() {
            Some("lines") => (Format::Lines, TEXT),
            Some("sse") => (Format::Sse, "text/event-stream"),
            Some("json") => (Format::Json, "application/x-ndjson"),
            Some(other) => {
                return Err(Refusal::new(
                    400,
                    format!("as={} is no format; send as=lines, as=sse or as=json", shown(other)),
                ));
            }
            None => negotiate(exchange.header("Accept").unwrap_or("")),
        };
        let events = match exchange.query_value("event").as_deref() {
            None => Events::AllButQuiet,
            Some("*") => Events::All,
            Some(list) => match list.split(',').find(|name| !is_plain_name(name)) {
                None => Events::Only(list.split(',').map(str::to_owned).collect()),
                Some(name) => {
                    return Err(Refusal::new(
                        400,
                        format!("{} is no event name; send event=NAME,NAME or event=* for every one", shown(name)),
                    ));
                }
            },
        };
        Ok(Request { wants: Subscription { channel: channel.to_owned(), events }, format, content_type })
    }

    fn headers(&self) -> String {
        format!(
            "Content-Type: {}\r\nCache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n\
             X-Content-Type-Options: nosniff\r\n",
            self.content_type
        )
    }
}

/// The format and content type for an `Accept` header: of the types we know, the one with the highest weight (RFC 9110
/// section 12.5.1), the first of equals. Who asks for nothing we know, as curl does with `*/*`, gets lines under the
/// content type of the seed program.
fn negotiate(accept: &str) -> (Format, &'static str) {
    let lines_as_ever = (Format::Lines, "text/event-stream");
    let mut best = (0.0, lines_as_ever);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let offer = match parts.next().unwrap_or("").to_ascii_lowercase().as_str() {
            "text/event-stream" => (Format::Sse, "text/event-stream"),
            "application/x-ndjson" | "application/jsonl" | "application/json" => (Format::Json, "application/x-ndjson"),
            "text/plain" => (Format::Lines, TEXT),
            "text/html" | "*/*" => lines_as_ever,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
        if weight > best.0 {
            best = (weight, offer);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_follows_accept() {
        let check = |accept: &str, format: Format, content_type: &str| {
            assert_eq!(negotiate(accept), (format, content_type), "{accept}");
        };
        check("", Format::Lines, "text/event-stream");
        check("*/*", Format::Lines, "text/event-stream");
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Lines, "text/event-stream");
        check("text/plain", Format::Lines, TEXT);
        check("text/event-stream", Format::Sse, "text/event-stream");
        check("Text/Event-Stream; charset=utf-8", Format::Sse, "text/event-stream");
        check("application/x-ndjson", Format::Json, "application/x-ndjson");
        check("application/jsonl", Format::Json, "application/x-ndjson");
        check("application/json, */*", Format::Json, "application/x-ndjson");
        check("application/json;q=0.5, text/event-stream", Format::Sse, "text/event-stream");
        check("text/event-stream;q=0, */*;q=0.1", Format::Lines, "text/event-stream");
        check("image/png", Format::Lines, "text/event-stream");
        check(";;,q=,,\u{1F600};q=x", Format::Lines, "text/event-stream");
    }
}
