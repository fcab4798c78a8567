//! `/say`: one request becomes one message for everyone it concerns.

use crate::exchange::{After, Answer, Exchange, Refusal, TEXT};
use crate::form;
use crate::hub::{Hub, Receipt};
use crate::route::refusal_of;

/// Says what the request says on `channel`, answers `ok.`, then lends a hand in carrying it. The answer waits for no
/// listener: it is sent when the message lies in every letterbox.
pub fn say(mut exchange: Exchange<'_>, channel: &str, hub: &Hub) -> After {
    let receipt = match publish(&mut exchange, channel, hub) {
        Ok(receipt) => receipt,
        Err(refusal) => return exchange.refuse(&refusal),
    };
    let answer = if exchange.wants_json() {
        let body = format!("{{\"id\":\"{}\",\"listeners\":{}}}", receipt.id, receipt.listeners);
        Answer::new(200, "application/json", body)
    } else {
        Answer::new(200, TEXT, "ok.")
    };
    let after = exchange.answer(
        answer
            .with("Aloud-Id", receipt.id)
            .with("Aloud-Listeners", receipt.listeners)
            .with("Access-Control-Expose-Headers", "Aloud-Id, Aloud-Listeners"),
    );
    hub.lend_a_hand(receipt.listeners);
    after
}

fn publish(exchange: &mut Exchange<'_>, channel: &str, hub: &Hub) -> Result<Receipt, Refusal> {
    let body = exchange.body()?;
    let message = form::message(exchange.query(), exchange.header("Content-Type"), &body, channel)?;
    hub.publish(message).map_err(refusal_of)
}
