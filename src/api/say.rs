//! `/say`: one request becomes one message for everyone it concerns.
//!
//! The thread that serves a speaker may wait for locks that are held for moments, and for nothing else: for no
//! listener, no socket and no disk. If the message has to be kept first, its connection waits on the commit queue
//! without a thread (`room/commit_queue.rs`).

use serde_json::json;

use crate::http::{After, Answer, Exchange, Refusal, form};
use crate::room::Receipt;

/// Says what the request says on `channel`, and answers `ok.`. The answer waits for no listener: it is sent when the
/// message lies in every letterbox. Carrying it to them comes after that.
///
/// # Errors
/// The refusal of what cannot be read.
pub fn say(exchange: &mut Exchange<'_>, channel: &str) -> Result<After, Refusal> {
    let body = exchange.body()?;
    let message = form::message(exchange.query(), exchange.header("Content-Type"), &body, channel)?;
    Ok(exchange.publish(message, None, Box::new(|exchange, said| said.map(|receipt| answer(exchange, receipt)))))
}

/// The answer to a message that was said.
fn answer(exchange: &Exchange<'_>, receipt: Receipt) -> Answer {
    let json = || json!({ "id": receipt.id.to_string(), "listeners": receipt.listeners });
    exchange
        .text_or_json(200, "ok.", json)
        .with("Aloud-Id", receipt.id)
        .with("Aloud-Listeners", receipt.listeners)
        .with("Access-Control-Expose-Headers", "Aloud-Id, Aloud-Listeners")
}
