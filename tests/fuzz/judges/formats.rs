//! A listener's view of a frame: readers of the four formats, written from their specifications and not from the code
//! that writes them. Each has to find in the bytes the message that was put in.

use std::sync::Arc;

use aloud::names::is_invisible;
use aloud::room::frame::{Format, LAST_CHUNK, Letter, encode, heartbeat, opening};
use aloud::room::message::Message;
use serde_json::{Map, Value};

use super::agree::dechunk;

/// Panics unless `message` is found again in its frame in every format, and nothing else.
pub fn check_frames(message: &Message) {
    check_lines(message, &encoded(message, Format::Lines));
    check_json(message, &encoded(message, Format::Json));
    check_sse(message, &encoded(message, Format::Sse));
    check_columns(message, &encoded(message, Format::Tsv));
    let letter = Letter::new(Arc::new(message.clone()));
    for format in [Format::Lines, Format::Sse, Format::Json, Format::Tsv] {
        let payload = letter.frame(format, false);
        assert_eq!(payload, encoded(message, format), "the frame alone");
        assert_eq!(dechunk(&[letter.frame(format, true), LAST_CHUNK].concat()), payload, "the frame as a chunk");
    }
}

fn encoded(message: &Message, format: Format) -> Vec<u8> {
    let mut frame = vec![];
    encode(message, format, &mut frame);
    frame
}

/// The contract: these become spaces in a line.
fn is_control(char: char) -> bool {
    matches!(char, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

/// The contract: seven columns with tabs between, whatever is in them.
fn check_columns(message: &Message, frame: &[u8]) {
    let text = std::str::from_utf8(frame).expect("a line is UTF-8");
    let columns: Vec<_> = text.strip_suffix('\n').expect("a line ends with LF").split('\t').collect();
    let [id, time, said @ ..] = &columns[..] else { panic!("too few columns: {text:?}") };
    assert_eq!((*id, micros(time)), (message.id.to_string().as_str(), message.time), "id and time");
    let meant = [&message.event, message.channel.as_str(), &message.name, &message.message, &message.status];
    assert_eq!(said, meant.map(|part| part.replace(is_control, " ")), "the other columns");
}

/// The contract: `NAME MESSAGE\r\n`, or one of the two alone where nobody sees the other; control characters (C0, DEL,
/// C1) and the two line ends of Unicode become spaces.
fn check_lines(message: &Message, frame: &[u8]) {
    let text = std::str::from_utf8(frame).expect("a line is UTF-8");
    let line = text.strip_suffix("\r\n").expect("a line ends with CR LF");
    assert!(!line.contains(is_control), "a line holds no control character");
    let [name, text] = [&message.name, &message.message].map(|part| if is_invisible(part) { "" } else { part });
    let both = match (name, text) {
        ("", message) => message.to_owned(),
        (name, "") => name.to_owned(),
        (name, message) => format!("{name} {message}"),
    };
    assert_eq!(line, both.replace(is_control, " "), "the line");
}

/// The contract: one JSON object a line; empty members are left out.
fn check_json(message: &Message, frame: &[u8]) {
    let (end, line) = frame.split_last().expect("a frame is not empty");
    assert!(*end == b'\n' && !line.contains(&b'\n') && !line.contains(&b'\r'), "an object is one line");
    let text = std::str::from_utf8(line).expect("an object is UTF-8");
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "to every reader");
    let found: Map<_, _> = serde_json::from_slice(line).expect("a line is a JSON object");
    let mut meant = Map::new();
    put(&mut meant, "id", &message.id.to_string());
    put(&mut meant, "event", &message.event);
    put(&mut meant, "name", &message.name);
    put(&mut meant, "message", &message.message);
    check_members(message, found, meant);
}

/// The contract: `id`, `event`, and `data` with name and message, be they empty or not.
fn check_sse(message: &Message, frame: &[u8]) {
    // As it stands in a stream: after the opening, between signs of life, before the next frame.
    let heartbeat = heartbeat(Format::Sse);
    let stream = [opening(Format::Sse).as_slice(), heartbeat, frame, heartbeat, b"data: next\n\n"].concat();
    let events = read_events(std::str::from_utf8(&stream).expect("a stream is UTF-8"));
    let [found, next] = &events[..] else { panic!("a frame is one event, not {}", events.len() - 1) };
    assert_eq!(found.id, message.id.to_string(), "the id");
    assert_eq!(found.kind, message.event, "the event's name");
    assert_eq!((next.kind.as_str(), next.data.as_str()), ("message", "next"), "nothing is left for the next event");
    let mut meant = Map::new();
    meant.insert("name".to_owned(), message.name.as_str().into());
    meant.insert("message".to_owned(), message.message.as_str().into());
    check_members(message, serde_json::from_str(&found.data).expect("data is a JSON object"), meant);
}

/// Checks the members that both formats have: time, channel and fields.
fn check_members(message: &Message, mut found: Map<String, Value>, mut meant: Map<String, Value>) {
    let time = found.remove("time").expect("there is a time");
    let micros = micros(time.as_str().expect("a time is text"));
    assert_eq!(micros, message.time, "the time {time}");
    put(&mut meant, "channel", &message.channel);
    put(&mut meant, "key", &message.key);
    put(&mut meant, "status", &message.status);
    if !message.fields.is_empty() {
        let fields = message.fields.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        meant.insert("fields".to_owned(), Value::Object(fields));
    }
    assert_eq!(found, meant, "the members");
}

fn put(object: &mut Map<String, Value>, key: &str, value: &str) {
    if !value.is_empty() {
        object.insert(key.to_owned(), value.into());
    }
}

/// An event as an `EventSource` dispatches it.
#[derive(Default)]
struct Event {
    id: String,
    kind: String,
    data: String,
}

/// WHATWG HTML section 9.2.6: how an event stream is interpreted.
fn read_events(stream: &str) -> Vec<Event> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut event, mut last_id) = (vec![], Event::default(), String::new());
    for line in stream.split_terminator('\n') {
        if line.is_empty() {
            let mut whole = std::mem::take(&mut event);
            if whole.data.pop() == Some('\n') {
                whole.id.clone_from(&last_id);
                if whole.kind.is_empty() {
                    "message".clone_into(&mut whole.kind);
                }
                events.push(whole);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.kind),
            "data" => event.data.extend([value, "\n"]),
            "id" if !value.contains('\0') => value.clone_into(&mut last_id),
            _ => {} // a comment, `retry`, or what nobody knows
        }
    }
    events
}

/// RFC 3339 in UTC, as microseconds since 1970. The days are counted one year and month after the other.
fn micros(text: &str) -> u64 {
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().unwrap_or_else(|_| panic!("{text} is no time"));
    let form: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000Z");
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (year, month) = (number(0, 4), number(5, 7));
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = years + lengths[..month as usize - 1].iter().sum::<u64>() + number(8, 10) - 1;
    let seconds = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    seconds * 1_000_000 + number(20, 26)
}
