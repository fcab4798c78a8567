//! `/said`: the newest messages, as a listener would have heard them, then an end. They are gathered under the hub's
//! lock and encoded outside it, a piece at a time, as the client takes them.

use std::iter;

use crate::api::listen;
use crate::http::{After, Ask, Exchange, Refusal};
use crate::room::frame::{self, LAST_CHUNK};
use crate::room::{Since, letterbox::PIECE_BYTES};

/// Answers with the kept messages of `channel`: all, or as far as the query asks. Waits for a client that reads slowly,
/// so it needs a thread of its own.
///
/// # Errors
/// The refusal of a bad request, or of one for which no memory is left.
pub fn said(exchange: &Exchange<'_>, channel: &str) -> Result<After, Refusal> {
    let ask = Ask::read(exchange, channel)?;
    if exchange.request.method == "HEAD" {
        return Ok(exchange.answer_in_pieces(&ask.headers("no-store"), iter::empty()));
    }
    let _claim = listen::claim_replay()?;
    let (format, chunked) = (ask.format, exchange.request.http11);
    let mut replay = exchange.hub.said(&ask.wants, ask.since.unwrap_or(Since::OLDEST));
    let opening = frame::framed(frame::opening(format), chunked);
    let messages = iter::from_fn(|| {
        let some_left = !replay.is_empty();
        some_left.then(|| frame::run(&mut replay, format, chunked, PIECE_BYTES))
    });
    let end = if chunked { LAST_CHUNK.to_vec() } else { vec![] };
    let pieces = iter::once(opening).chain(messages).chain([end]);
    Ok(exchange.answer_in_pieces(&ask.headers("no-store"), pieces))
}
