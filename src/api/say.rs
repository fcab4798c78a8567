//! `/say`: one request becomes one message for everyone it concerns.

use crate::api::route::refusal_of;
use crate::http::exchange::{After, Answer, Answering, Exchange, HandIn, Outcome, Refusal, TEXT};
use crate::http::form;
use crate::room::hub::{Hub, Receipt, Refused};
use crate::room::message::{Mark, Message};

/// Says what the request says on `channel`, and answers `ok.`. The answer waits for no listener: it is sent when the
/// message lies in every letterbox. Carrying it to them comes after that.
pub fn say(mut exchange: Exchange<'_>, channel: &str, hub: &Hub) -> Outcome {
    let message = match read(&mut exchange, channel) {
        Ok(message) => message,
        Err(refusal) => return exchange.refuse(&refusal).into(),
    };
    publish(exchange, hub, message, None, Box::new(answer))
}

/// Publishes `message`, with its mark if it is to be said `once`, and has the request answered. Where the message has to
/// be kept first, the caller hands it in and no thread waits, but for one that serves this client alone. Once the hub is
/// closed the message is refused at once. Handed in, its answer would be sent from here, and what was sent ahead behind
/// it answered too, and so on, each on the stack of the one before.
pub fn publish(
    exchange: Exchange<'_>,
    hub: &Hub,
    message: Message,
    once: Option<Mark>,
    answering: Answering,
) -> Outcome {
    if hub.desk().is_some() && !exchange.is_patient() && !hub.is_closed() {
        let unanswered = exchange.leave();
        return After::HandIn(Box::new(HandIn { message, once, unanswered, answering })).into();
    }
    let said = hub.publish_once(message, once);
    answering(exchange, said)
}

/// Answers with what became of the message.
fn answer(exchange: Exchange<'_>, said: Result<Receipt, Refused>) -> Outcome {
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
