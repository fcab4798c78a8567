//! `/hook/SENDER`: what a forge, a monitor or any other sender posts becomes one readable line for every listener, and
//! fields for the dashboard.
//!
//! ```text
//!   delivery ─▶ proof ─▶ payload ─▶ telling ─▶ notice ─▶ memory ─▶ hub
//!               secret    JSON      by tables  a line    said already?
//!                               └▶ template, by the query
//! ```
//!
//! A sender cannot read a refusal: it shows it to nobody, and after a few it switches the hook off. So every delivery
//! gets an empty 200, even if aloud makes nothing of it. Only a bad secret is a 401. If a delivery cannot be read,
//! aloud says that it has come. A field that is missing, null or of another type than documented counts as absent: the
//! line gets shorter, and without the fields that matter there is no line.
//!
//! **Noise stays out.** Queued, pending and repeated states are published as [`CI_UPDATE_EVENT`], which only listeners
//! that ask for it hear. All else is published as [`CI_EVENT`](crate::room::message::CI_EVENT). A delivery that is sent
//! again is not published again.

mod memory;
pub mod notice;
mod payload;
mod proof;
mod sender;
mod telling;
mod template;

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::clock;
use crate::http::auth::{self, Door};
use crate::http::{After, Answer, Exchange, Refusal, TEXT, form};
use crate::journal;
use crate::room::message::{CI_UPDATE_EVENT, digest_of};
use crate::room::{Message, Receipt, Refused};
use crate::text::shown;

pub use memory::Memory;
use memory::Worth;
pub use notice::Notice;
use notice::State;
use payload::Payload;
use sender::Header;
pub use sender::Sender;

/// How much of a delivery is kept, in bytes. A pipeline of a hundred jobs takes some 100 kB, and a push of the most
/// commits that a forge lists takes a few hundred. Only the beginning of a longer delivery is read.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Reads a delivery to `channel`; nothing if aloud makes nothing of it. `event` is the header that names the event. If
/// it is empty, as with a recorded delivery sent by hand, the payload names it. `query` has the templates for any other
/// JSON.
///
/// # Errors
/// 400 if the templates make no good message.
pub fn read(sender: Sender, channel: &str, event: &str, query: &str, payload: &Value) -> Result<Vec<Notice>, Refusal> {
    Ok(match sender {
        Sender::Alertmanager | Sender::Grafana => telling::alerts(sender, channel, Payload(payload)),
        Sender::Json => template::notice(query, payload, channel)?.into_iter().collect(),
        forge => telling::forge(forge, channel, event, Payload(payload)).into_iter().collect(),
    })
}

/// A delivery, if something identifies it, and the news in it.
type Received = (Option<State>, Vec<News>);

/// A message, and the state that is news by it.
type News = (Message, Option<State>);

/// Takes a delivery for `/hook/EXPECTED/CHANNEL` in, publishes what it says, and answers with an empty 200.
///
/// # Errors
/// 401 for a bad secret.
pub fn hook(
    exchange: &mut Exchange<'_>,
    expected: Sender,
    channel: &str,
    memory: &Arc<Memory>,
) -> Result<After, Refusal> {
    let hub = exchange.hub;
    let (delivery, mut news) = receive(exchange, expected, channel, memory)?;
    let Some((last, news_of_last)) = news.pop() else { return Ok(exchange.answer(Answer::new(200, TEXT, ""))) };
    let refused = Arc::new(OnceLock::new());
    for (message, state) in news {
        let (refused, memory) = (refused.clone(), memory.clone());
        let then = move |said: Result<Receipt, Refused>| {
            if let Err(reason) = said {
                memory.take_back(state);
                let _ = refused.set(reason);
            }
        };
        hub.publish_aside(message, None, Box::new(then));
    }
    // Messages are kept in the order in which they are handed in: after the last one, all are known to be said or not.
    let memory = memory.clone();
    let answering = move |_: &Exchange<'_>, said: Result<Receipt, Refused>| {
        let said = said.and_then(|_| refused.get().map_or(Ok(()), |reason| Err(*reason)));
        said.map(|()| Answer::new(200, TEXT, ""))
            .inspect_err(|_| [delivery, news_of_last].into_iter().for_each(|state| memory.take_back(state)))
    };
    Ok(exchange.publish(last, delivery.map(|(digest, _)| digest), Box::new(answering)))
}

/// Takes a delivery in.
fn receive(exchange: &mut Exchange<'_>, expected: Sender, channel: &str, memory: &Memory) -> Result<Received, Refusal> {
    let (body, fault) = exchange.body().map_or_else(|refusal| (vec![], Some(refusal.line)), |body| (body, None));
    let header = |name: &str| exchange.header(name);
    let sender = Sender::of(&header, expected);
    let event = sender.event_in(&header).unwrap_or_default();
    let is_cut = exchange.request.is_cut;
    match prove(sender, channel, exchange, &body) {
        Err(_) if is_cut => return Ok((None, vec![])), // a signature of the whole body cannot be checked
        proven => proven?,
    }
    let delivery = delivery(sender, channel, &header, &body);
    if memory.has_heard(delivery) {
        log::debug!("{} sent a delivery again, which was heard before", exchange.peer());
        return Ok((None, vec![]));
    }
    let payload = fault.map_or_else(|| json(header("Content-Type"), &body, is_cut), Err);
    let read = |payload| read(sender, channel, event, exchange.query(), &payload).map_err(|refusal| refusal.line);
    let (notices, fault) = payload.and_then(read).map_or_else(|fault| (vec![], Some(fault)), |notices| (notices, None));
    let mut news: Vec<_> = notices.into_iter().filter_map(|notice| news(notice, sender, memory)).collect();
    if let Some(fault) = is_cut.then(|| format!("it is longer than {BODY_LIMIT} bytes")).or(fault) {
        let part = if news.is_empty() { "" } else { " in whole" };
        let message = format!("A delivery to /hook/{} could not be read{part}: {fault}", expected.name());
        // That an update was cut is one too.
        let is_update = !news.is_empty() && news.iter().all(|(message, _)| message.event == CI_UPDATE_EVENT);
        let event = if is_update { CI_UPDATE_EVENT } else { sender.event() }.into();
        let channel = channel.to_owned();
        news.push((Message { event, channel, message, ..Message::default() }, None));
    }
    if news.is_empty() {
        let (peer, sender, event) = (exchange.peer(), sender.name(), shown(event));
        log::debug!("{peer} sent a delivery that says nothing new: {sender} {event}");
    }
    Ok((delivery, news))
}

/// Checks that a delivery comes from a sender that knows a secret or shows a token, if there is a secret.
///
/// # Errors
/// 401.
fn prove(sender: Sender, channel: &str, exchange: &Exchange<'_>, body: &[u8]) -> Result<(), Refusal> {
    let secrets = &exchange.config.hook_secrets;
    let header = |name: &str| exchange.header(name);
    let now = clock::machine_micros() / 1_000_000;
    let proves = |secret| proof::holds(sender, secret, &header, body, now) | auth::shows(secret, exchange);
    if secrets.is_empty() || secrets.iter().any(proves) || auth::shows_token(Door::Say, channel, exchange) {
        return Ok(());
    }
    let why = if exchange.request.is_cut {
        "does not prove that it knows the secret, and is too long for a signature"
    } else {
        "does not prove that it knows the secret"
    };
    journal::HOOKS.warn(format_args!("refused a hook of {}: it {why}", exchange.peer()));
    let send = match sender {
        Sender::Json => "send the one of --hook-secret as Authorization: Bearer SECRET, or as ?token=SECRET".to_owned(),
        sender => format!("set the one of --hook-secret in {}", sender.name()),
    };
    let line = format!("the hook does not prove its secret; {send}");
    Err(Refusal::new(401, line).with("WWW-Authenticate", "Bearer"))
}

/// The message that a `notice` is published as, if it is news.
fn news(notice: Notice, sender: Sender, memory: &Memory) -> Option<News> {
    match memory.news(&notice) {
        Worth::Said => Some((notice.message, notice.state)),
        Worth::Updated if sender.is_forge() => {
            let (event, key, status) = (CI_UPDATE_EVENT.into(), String::new(), String::new());
            Some((Message { event, key, status, ..notice.message }, None))
        }
        Worth::Updated | Worth::Late => None,
    }
}

/// This delivery, if something identifies it. The channel is a part of its identity, because a forge may give an event
/// one name in two hooks.
fn delivery<'a>(sender: Sender, channel: &str, header: &Header<'a>, body: &[u8]) -> Option<State> {
    let digest = |parts: &[&[u8]]| (digest_of(parts), memory::HEARD);
    let (sender_name, channel) = (sender.name().as_bytes(), channel.as_bytes());
    let named = sender.delivery_in(header).map(|name| digest(&[sender_name, channel, name.as_bytes()]));
    // Before 17.4 GitLab does not name its deliveries. Then an equal event with an equal body counts as one delivery.
    let equal = |event: &str| digest(&[sender_name, channel, event.as_bytes(), body]);
    named.or_else(|| header("X-Gitlab-Event-UUID").map(equal))
}

/// Parses the payload: the body, or the field `payload` of a form, as GitHub and Slack's senders send it, or `data`, as
/// Uptime Kuma does, if it is alone. Other forms become an object, and plain text too; a form of one name without a value is a text. A
/// body that looks like an object or an array counts as JSON whatever its type, because `curl -d @FILE` calls
/// everything a form.
///
/// # Errors
/// The reason why the payload cannot be read.
fn json(content_type: Option<&str>, body: &[u8], is_cut: bool) -> Result<Value, String> {
    let text = form::without_lone_surrogates(&String::from_utf8_lossy(body));
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let media_type = form::media_type(content_type.unwrap_or("")).0;
    if media_type == "application/json" || text.is_empty() || text.starts_with(['{', '[']) {
        let payload = parse(text, is_cut);
        if payload.is_ok() || !["", "text/plain"].contains(&&*media_type) {
            return payload;
        } // else it is a text such as `[FIRING] Disk full`
    }
    let pairs = form::body_pairs(content_type, body).map_err(|refusal| refusal.line)?;
    match (pairs.iter().find(|(key, _)| key == "payload"), &pairs[..]) {
        (Some((_, payload)), _) => parse(payload, is_cut),
        (None, [(key, data)]) if key == "data" && data.starts_with('{') => parse(data, is_cut),
        // `curl -d 'Disk full'`
        (None, [(text, none)]) if none.is_empty() && !body.contains(&b'=') => Ok(text.as_str().into()),
        (None, _) => Ok(pairs.into_iter().collect()),
    }
}

fn parse(text: &str, is_cut: bool) -> Result<Value, String> {
    match text {
        "" => Ok(Value::Null),
        text if is_cut => {
            let mut payload = serde_json::from_str(&mended(text)).unwrap_or_default();
            if let Value::Object(members) = &mut payload {
                members.insert(payload::CUT.to_owned(), true.into());
            }
            Ok(payload)
        }
        text => serde_json::from_str(text).map_err(|error| format!("it is no JSON ({error})")),
    }
}

/// The JSON of which `text` is the beginning, as far as its members and elements are whole: up to the last comma or
/// closing bracket that is in no string. The brackets that are open there are closed.
fn mended(text: &str) -> String {
    let (mut end, mut depth, mut open, mut in_string, mut escaped) = (0, 0, vec![], false, false);
    for (place, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' => {
                open.pop();
                (end, depth) = (place + 1, open.len());
            }
            ',' => (end, depth) = (place, open.len()),
            _ => {}
        }
    }
    text[..end].chars().chain(open.into_iter().take(depth).rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_is_cut_is_read_as_far_as_it_is_whole() {
        let text = r#"{"a":{"b":"x,y}\"]","c":[1,{"d":2,"e":[3,4]}]},"f":"g"}"#;
        let whole: Value = serde_json::from_str(text).unwrap();
        let mut longest = 0;
        for end in 0..text.len() {
            let Ok(part) = serde_json::from_str::<Value>(&mended(&text[..end])) else {
                assert!(!text[..end].contains(r#"",""#), "{}", &text[..end]);
                continue;
            };
            assert!(part["a"]["b"] == whole["a"]["b"] && part["f"].is_null(), "{part}");
            longest = longest.max(part["a"]["c"].as_array().map_or(0, Vec::len));
        }
        assert_eq!(longest, 2);
        assert_eq!(mended(&"[,".repeat(3)), "[,[,[]]]");
    }
}
