//! `/say`: one request becomes one message for everyone it concerns.

use crate::exchange::{Answer, Exchange, Refusal, TEXT};
use crate::form;
use crate::hub::{Hub, Receipt};
use crate::route::{Outcome, refusal_of};

/// Says what the request says on `channel`, and answers `ok.`. The answer waits for no listener: it is sent when the
/// message lies in every letterbox. Carrying it to them comes after that.
pub fn say(mut exchange: Exchange<'_>, channel: &str, hub: &Hub) -> Outcome {
    let receipt = match publish(&mut exchange, channel, hub) {
        Ok(receipt) => receipt,
        Err(refusal) => return exchange.refuse(&refusal).into(),
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
    Outcome { after, reached: receipt.listeners }
}

fn publish(exchange: &mut Exchange<'_>, channel: &str, hub: &Hub) -> Result<Receipt, Refusal> {
    let body = exchange.body()?;
    let message = form::message(exchange.query(), exchange.header("Content-Type"), &body, channel)?;
    hub.publish(message).map_err(refusal_of)
}
