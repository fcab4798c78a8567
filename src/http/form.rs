//! Reads name, message and fields from query and body. Everything that `curl` can send becomes a [`Message`], or one
//! line that says why not. Pure: bytes in, message out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::value::RawValue;

use crate::config::FIELDS_LIMIT;
use crate::http::refusal::Refusal;
use crate::names::{PLAIN_NAME, is_invisible, is_plain_name};
use crate::parameters;
use crate::room::Message;
use crate::room::message::{DEFAULT_EVENT, NUMBER_EVENT};
use crate::room::standing::{GONE, OK, WARN, standing};
use crate::text::shown;

/// Keys and values in the order they were sent; those of JSON are sorted by key.
pub type Pairs = Vec<(String, String)>;

/// The keys of a message beside its fields: `name`, `message`, `event`, `key` and `status`.
const OWN_KEYS: usize = 5;

/// The longest key of a thing, and the longest status, in characters.
pub const KEY_LIMIT: usize = 128;

/// The message of a request to `/say/CHANNEL`. If a key comes twice, the body wins over the query, and the first over
/// the second. Bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// 400 if the body is not what its type says, a name breaks the rules or nothing is said; 415 for an unknown type of
/// body.
pub fn message(query: &str, content_type: Option<&str>, body: &[u8], channel: &str) -> Result<Message, Refusal> {
    message_of(pairs(query, content_type, body)?, channel)
}

/// The message that `pairs` say on `channel`.
///
/// # Errors
/// 400 if a name breaks the rules or nothing is said.
pub fn message_of(mut pairs: Pairs, channel: &str) -> Result<Message, Refusal> {
    let mut take = |key: &str| {
        let place = pairs.iter().position(|(found, _)| found == key)?;
        Some(pairs.remove(place).1)
    };
    let message = Message {
        event: event_name(take("event"))?,
        channel: channel.to_owned(),
        name: take("name").unwrap_or_default(),
        message: take("message").unwrap_or_default(),
        key: take("key").map_or(Ok(String::new()), key)?,
        status: short_text("status", take("status").unwrap_or_default())?,
        fields: checked(pairs)?,
        ..Message::default()
    };
    if message.event == NUMBER_EVENT {
        return number(message);
    }
    if is_invisible(&message.name) && is_invisible(&message.message) {
        return Err(Refusal::bad("nothing is said; send message=TEXT, name=TEXT or both"));
    }
    Ok(message)
}

/// A message with the value of a number, completed. If the speaker has left them out, its key is the number's name, its
/// text is the value and the unit, and its status says whether the value is beyond `above` or `below`.
///
/// # Errors
/// 400 if the number has no name, or a figure is no finite decimal.
fn number(mut message: Message) -> Result<Message, Refusal> {
    let figure = |key: &str| {
        let Some(text) = message.field(key) else { return Ok(None) };
        let figure = text.parse().ok().filter(|figure: &f64| figure.is_finite());
        let wrong = || Refusal::of_value(key, text, "is no number; send a decimal, such as 21.5");
        figure.map(Some).ok_or_else(wrong)
    };
    let (value, above, below) = (figure("value")?, figure("above")?, figure("below")?);
    if value.is_none() && standing(&message.status) != GONE {
        return Err(Refusal::bad("the number has no value; send value=DECIMAL"));
    }
    let is_above = value.zip(above).is_some_and(|(value, above)| value > above);
    let is_beyond = is_above || value.zip(below).is_some_and(|(value, below)| value < below);
    let words = [message.field("value"), message.field("unit")].map(Option::unwrap_or_default).join(" ");
    if message.key.is_empty() {
        message.key = short_text("name", message.name.clone())?;
    }
    if is_invisible(&message.key) {
        return Err(Refusal::bad("the number has no name; send name=TEXT"));
    }
    if value.is_none() && message.message.is_empty() {
        (message.name, message.message) = (message.key.clone(), "is forgotten".to_owned());
    } else if message.message.is_empty() {
        message.message = words.trim_end().to_owned();
    }
    if message.status.is_empty() {
        message.status = if is_beyond { WARN } else { OK }.to_owned();
    }
    Ok(message)
}

/// Checks the key of a thing.
fn key(text: String) -> Result<String, Refusal> {
    match is_invisible(&text) {
        true => Err(Refusal::bad(format!("the key is empty; send 1 to {KEY_LIMIT} characters, or leave it out"))),
        false => short_text("key", text),
    }
}

/// Checks a text that names a thing, or says how it stands.
fn short_text(what: &str, text: String) -> Result<String, Refusal> {
    if text.chars().count() > KEY_LIMIT || text.contains(char::is_control) {
        let rule = format!("send at most {KEY_LIMIT} characters, none of them a control character");
        return Err(Refusal::bad(format!("the {what} {} cannot be used; {rule}", shown(&text))));
    }
    Ok(text)
}

/// Every key of query and body with its value, each key once: the body wins over the query, the first over the second.
///
/// # Errors
/// 400 if the body is not what its type says; 415 for an unknown type of body.
pub fn pairs(query: &str, content_type: Option<&str>, body: &[u8]) -> Result<Pairs, Refusal> {
    // A token in the query opens the door; it is no field of the message.
    let in_query = form_urlencoded::parse(query.as_bytes()).into_owned();
    let in_query: Pairs = in_query.filter(|(key, _)| key != "token").collect();
    let says =
        |(key, value): &(String, String)| matches!(key.as_str(), "name" | "message" | "value") && !value.is_empty();
    let in_body = match body_pairs(content_type, body) {
        Err(refusal) if refusal.status == 415 && in_query.iter().any(says) => vec![],
        in_body => in_body?,
    };
    let sent = in_body.into_iter().chain(in_query);
    let mut pairs = Pairs::new();
    for (key, value) in sent {
        if key.eq_ignore_ascii_case("token") {
            let line = "a token would be heard by all there; send Authorization: Bearer TOKEN, or ?token=TOKEN";
            return Err(Refusal::bad(line));
        }
        // Past the most fields a request may have, nobody looks for repeated keys: the request is refused anyway.
        if pairs.len() > FIELDS_LIMIT + OWN_KEYS || !pairs.iter().any(|(known, _)| *known == key) {
            pairs.push((key, value));
        }
    }
    Ok(pairs)
}

fn event_name(event: Option<String>) -> Result<Cow<'static, str>, Refusal> {
    match event {
        None => Ok(DEFAULT_EVENT.into()),
        Some(event) if is_plain_name(&event) => Ok(event.into()),
        Some(event) => Err(Refusal::of(event, &format!("is no event name; send {PLAIN_NAME}"))),
    }
}

/// Returns `fields` if there are not too many and each has a plain name.
///
/// # Errors
/// 400 if there are too many, or a name is not plain.
pub fn checked(fields: Pairs) -> Result<Pairs, Refusal> {
    if fields.len() > FIELDS_LIMIT {
        let count = fields.len();
        return Err(Refusal::bad(format!("there are {count} further fields; send at most {FIELDS_LIMIT}")));
    }
    let Some((key, _)) = fields.iter().find(|(key, _)| !is_plain_name(key)) else { return Ok(fields) };
    let send = match key.starts_with(' ') {
        true => "a text that holds & with curl --data-urlencode message=TEXT",
        false => &format!("message=TEXT, and names of {PLAIN_NAME}"),
    };
    Err(Refusal::of(key, &format!("is no field name; send {send}")))
}

/// The type in a header `Content-Type`, in lower case, and its parameters (RFC 9110 section 8.3.1).
pub fn media_type(content_type: &str) -> (String, &str) {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    (kind.trim().to_ascii_lowercase(), parameters)
}

/// The fields of a body, of which a text is the message.
///
/// # Errors
/// As [`pairs`].
pub fn body_pairs(content_type: Option<&str>, body: &[u8]) -> Result<Pairs, Refusal> {
    if body.is_empty() {
        return Ok(vec![]);
    }
    let content_type = content_type.unwrap_or("");
    let (kind, parameters) = media_type(content_type);
    match kind.as_str() {
        "application/x-www-form-urlencoded"
            if body.trim_ascii_start().starts_with(b"{") && members(&String::from_utf8_lossy(body)).is_ok() =>
        {
            Err(Refusal::bad("the body is JSON and called a form; send the header Content-Type: application/json"))
        }
        "application/x-www-form-urlencoded" => Ok(form_urlencoded::parse(body).into_owned().collect()),
        "multipart/form-data" => {
            let boundary = parameters::value(parameters, "boundary").filter(|boundary| !boundary.is_empty());
            let none = "the form has no boundary; send multipart/form-data; boundary=..., as curl -F does";
            multipart(body, boundary.ok_or_else(|| Refusal::bad(none))?.as_bytes())
        }
        "application/json" => json(body),
        "text/plain" | "" => Ok(vec![("message".to_owned(), String::from_utf8_lossy(body).into_owned())]),
        other => {
            let send = "application/x-www-form-urlencoded, multipart/form-data, application/json or text/plain";
            Err(Refusal::new(415, format!("the body is {}; send {send}", shown(other))))
        }
    }
}

/// Reads one JSON object. Strings are read; numbers and booleans become text as they were written; null, objects and
/// arrays are left out. Members of a JSON object have no order (RFC 8259 section 1), so they are sorted by name. If a
/// name comes twice, the last value counts.
fn json(body: &[u8]) -> Result<Pairs, Refusal> {
    let example = r#"send one object, such as {"name":"Florian","message":"Hi"}"#;
    let text = without_lone_surrogates(&String::from_utf8_lossy(body));
    let not_json = |error| Refusal::bad(format!("the body is not JSON ({error}); {example}"));
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if !serde_json::from_str::<&RawValue>(text).map_err(not_json)?.get().starts_with('{') {
        return Err(Refusal::bad(format!("the JSON is not an object; {example}")));
    }
    let mut pairs = vec![];
    for (key, value) in members(text).map_err(not_json)? {
        match value.get() {
            raw if raw.starts_with(['n', '{', '[']) => {}
            raw if raw.starts_with('"') => pairs.push((key, serde_json::from_str(raw).map_err(not_json)?)),
            raw => pairs.push((key, raw.to_owned())),
        }
    }
    Ok(pairs)
}

/// The members of a JSON object, as they were written.
fn members(text: &str) -> serde_json::Result<BTreeMap<String, &RawValue>> {
    serde_json::from_str(text)
}

/// JSON with U+FFFD for every escape that is half a character (RFC 8259 section 8.2): half an emoji, cut off by a
/// program that counts in UTF-16.
pub fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..0xe000).contains(unit))
    };
    let (mut mended, mut copied, mut place) = (String::with_capacity(text.len()), 0, 0);
    while let Some(found) = memchr::memchr(b'\\', &text.as_bytes()[place..]) {
        let escape = place + found;
        place = match (unit(escape), unit(escape + 6)) {
            (Some(..0xdc00), Some(0xdc00..)) => escape + 12,
            (Some(_), _) => {
                mended.extend([&text[copied..escape], "\u{fffd}"]);
                copied = escape + 6;
                copied
            }
            (None, _) => text.len().min(escape + 2),
        };
    }
    mended + &text[copied..]
}

/// Reads a form as `curl -F` and browsers send it (RFC 7578, framed by RFC 2046 section 5.1.1). A file counts as its
/// text; a part that is no field is skipped.
fn multipart(body: &[u8], boundary: &[u8]) -> Result<Pairs, Refusal> {
    let malformed = || Refusal::bad("the form cannot be read; send multipart/form-data as curl -F does");
    let delimiter = [b"\r\n--", boundary].concat();
    let mut pairs = vec![];
    // The first delimiter need not stand on a line of its own. The text before it says nothing.
    let first = body.strip_prefix(&delimiter[2..]).or_else(|| split(body, &delimiter).map(|(_, rest)| rest));
    let mut rest = first.ok_or_else(malformed)?;
    while !rest.starts_with(b"--") {
        // A part may have no headers: its blank line follows at once.
        let (head, part) = split(rest, b"\r\n\r\n").ok_or_else(malformed)?;
        let (padding, headers) = split(head, b"\r\n").unwrap_or((head, b""));
        if !padding.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(malformed());
        }
        let (content, following) = split(part, &delimiter).ok_or_else(malformed)?;
        if let Some(name) = part_name(&String::from_utf8_lossy(headers)) {
            pairs.push((name, String::from_utf8_lossy(content).into_owned()));
        }
        rest = following;
    }
    Ok(pairs)
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    memmem::find(bytes, at).map(|place| (&bytes[..place], &bytes[place + at.len()..]))
}

/// The form field's name out of a part's headers. Browsers and curl write `%22`, `%0D` and `%0A` for characters that
/// would break the quotes (WHATWG HTML section 4.10.21.8), older ones `\"`.
fn part_name(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let name = parameters::value(parameters, "name")?;
    Some(name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

#[cfg(test)]
mod tests;
