//! `/say`: one request becomes one message for everyone it concerns.

use crate::exchange::{After, Answer, Exchange, HandIn, Refusal, TEXT};
use crate::form;
use crate::hub::{Hub, Receipt, Refused};
use crate::message::Message;
use crate::route::{Outcome, refusal_of};

/// Says what the request says on `channel`, and answers `ok.`. The answer waits for no listener: it is sent when the
/// message lies in every letterbox. Carrying it to them comes after that. Where it has to be kept first, the caller
/// hands it in; only who has a thread of its own waits here. Once the hub is closed it is refused at once: who hands in
/// then answers what is sent ahead behind it before it returns, and so on, each on the stack of the one before.
pub fn say(mut exchange: Exchange<'_>, channel: &str, hub: &Hub) -> Outcome {
    let message = match read(&mut exchange, channel) {
        Ok(message) => message,
        Err(refusal) => return exchange.refuse(&refusal).into(),
    };
    if hub.desk().is_some() && !exchange.is_patient() && !hub.is_closed() {
        return After::HandIn(Box::new(HandIn { message, unanswered: exchange.leave() })).into();
    }
    answer(exchange, hub.publish(message))
}

/// Answers with what became of the message.
pub fn answer(exchange: Exchange<'_>, said: Result<Receipt, Refused>) -> Outcome {
    let receipt = match said {
        Ok(receipt) => receipt,
        Err(refused) => return exchange.refuse(&refusal_of(refused)).into(),
    };
    let answer = if exchange.wants_json() {
        let body = format!("{{\"id\":\"{}\",\"listeners\":{}}}\n", receipt.id, receipt.listeners);
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

fn read(exchange: &mut Exchange<'_>, channel: &str) -> Result<Message, Refusal> {
    let body = exchange.body()?;
    form::message(exchange.query(), exchange.header("Content-Type"), &body, channel)
}
