//! A message as bytes: lines, server-sent events, JSON or columns, and the chunk framing of HTTP/1.1 around them.
//! The only file that knows a wire format.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::sync::{Arc, OnceLock};

use crate::clock::rfc3339;
use crate::names::is_invisible;
use crate::room::message::Message;
use crate::room::replay::{Gap, Replay};

/// The format in which a listener wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `NAME MESSAGE\r\n`, for the eye and the shell.
    Lines,
    /// Server-sent events (WHATWG HTML section 9.2), for a browser's `EventSource`.
    Sse,
    /// One JSON object a line (NDJSON), for `jq`.
    Json,
    /// Seven columns with tabs between, one message a line, for `cut`, `awk` and `scripts/hear.sh`.
    Tsv,
}

/// Ends a chunked stream: the last chunk and no trailers, RFC 9112 section 7.1.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The average time an `EventSource` waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2000;

/// A message on its way to the listeners, with its frames. The first thread that needs a frame encodes it, outside
/// every lock of ours. So only formats that somebody listens in are encoded.
pub struct Letter {
    /// The message; the history shares it.
    pub message: Arc<Message>,
    /// The message in each format, without and with chunk framing.
    frames: [[OnceLock<Box<[u8]>>; 2]; 4],
}

impl Letter {
    /// A letter with no frame encoded yet.
    pub fn new(message: Arc<Message>) -> Letter {
        Letter { message, frames: Default::default() }
    }

    /// The message in `format`, encoded at the first call: as one chunk if `chunked`, or without a frame for HTTP/1.0,
    /// which knows no chunks.
    pub fn frame(&self, format: Format, chunked: bool) -> &[u8] {
        self.frames[format as usize][usize::from(chunked)].get_or_init(|| {
            let mut payload = Vec::with_capacity(160 + self.message.name.len() + self.message.message.len());
            encode(&self.message, format, &mut payload);
            framed(payload, chunked).into()
        })
    }
}

/// `payload` as it goes onto the wire: as it is, or as one chunk if `chunked`. A chunk has its length in hexadecimal
/// and a line break before it, and a line break behind it (RFC 9112 section 7.1). Empty stays empty, because a chunk
/// without a payload is the last one.
pub fn framed(payload: Vec<u8>, chunked: bool) -> Vec<u8> {
    if !chunked || payload.is_empty() {
        return payload;
    }
    [format!("{:x}\r\n", payload.len()).as_bytes(), &payload, CRLF].concat()
}

const CRLF: &[u8] = b"\r\n";

/// The opening of a stream in `format`, before the first message. No blank line ends it, because some readers
/// (httpx-sse) take a blank line after `retry:` for an event.
pub fn opening(format: Format) -> Vec<u8> {
    match format {
        Format::Sse => format!(": aloud\nretry: {}\n", retry_ms(RETRY_MS)).into_bytes(),
        Format::Lines | Format::Json | Format::Tsv => vec![],
    }
}

/// A time to wait before coming back, in milliseconds: `around`, up to half of it shorter or longer, different at each
/// call. So a thousand listeners do not all come back in the millisecond in which the server does.
pub fn retry_ms(around: u32) -> u32 {
    let random = RandomState::new().hash_one(());
    around / 2 + (random % u64::from(around.max(1))) as u32
}

/// A frame that tells a listener that it may have missed messages. For SSE it has no `id:`, so an `EventSource` keeps
/// the id that it has. If it hears no message before it comes back once more, it is told of the gap again. In columns
/// it is the only line without an id.
fn gap(gap: Gap, format: Format) -> Vec<u8> {
    let (after, oldest) = (gap.after.to_string(), gap.oldest.map_or(String::new(), |oldest| oldest.to_string()));
    let kept = gap.oldest.map_or("none is kept".to_owned(), |oldest| format!("the oldest kept is {oldest}"));
    let line = format!("aloud: messages after {after} may be missing; {kept}");
    let object = |event| {
        let mut object = vec![];
        write_object(&mut object, &[], &[("event", event), ("after", &after), ("oldest", &oldest)], &[]);
        object
    };
    match format {
        Format::Lines => [line.as_bytes(), CRLF].concat(),
        Format::Tsv => format!("\t\tgap\t\t\t{line}\t\n").into_bytes(),
        Format::Sse => [b"event: gap\ndata: ", &object("")[..], b"\n\n"].concat(),
        Format::Json => [&object("gap")[..], b"\n"].concat(),
    }
}

/// Takes the gap from `replay`, then messages, the oldest first. Returns them in `format`, in one chunk if `chunked`:
/// as many as fill `enough` bytes, or all.
pub fn run(replay: &mut Replay, format: Format, chunked: bool, enough: usize) -> Vec<u8> {
    let mut payload = replay.gap.take().map_or(vec![], |told| gap(told, format));
    while payload.len() < enough
        && let Some(message) = replay.messages.pop()
    {
        encode(&message, format, &mut payload);
    }
    framed(payload, chunked)
}

/// The bytes that keep a silent stream in `format` alive and are no message. For SSE it is a comment without the blank
/// line, because some readers (httpx-sse) take a blank line after a comment for an event once they have seen an id.
pub fn heartbeat(format: Format) -> &'static [u8] {
    match format {
        Format::Lines => b"\r\n",
        Format::Sse => b":\n",
        Format::Json | Format::Tsv => b"\n",
    }
}

/// Appends `message` as one frame, without chunk framing.
pub fn encode(message: &Message, format: Format, into: &mut Vec<u8>) {
    match format {
        Format::Lines => write_line(into, message),
        Format::Tsv => write_columns(into, message),
        Format::Sse => {
            let _ = write!(into, "id: {}\nevent: {}\ndata: ", message.id, message.event); // a Vec takes every byte
            write_data(into, message);
            into.extend_from_slice(b"\n\n");
        }
        Format::Json => {
            write_whole(into, message);
            into.push(b'\n');
        }
    }
}

/// Writes `NAME MESSAGE\r\n`, or only the one of the two that is not empty. A text that nobody can see counts as empty.
fn write_line(into: &mut Vec<u8>, message: &Message) {
    let [name, text] = [&message.name, &message.message].map(|part| if is_invisible(part) { "" } else { part });
    let between = if name.is_empty() || text.is_empty() { "" } else { " " };
    [name, between, text].into_iter().for_each(|part| write_plain(into, part));
    into.extend_from_slice(CRLF);
}

/// Writes `ID TIME EVENT CHANNEL NAME MESSAGE STATUS\n` with tabs between. Empty columns stay empty.
fn write_columns(into: &mut Vec<u8>, message: &Message) {
    let _ = write!(into, "{}\t{}\t{}", message.id, rfc3339(message.time), message.event); // a Vec takes every byte
    for part in [&message.channel, &message.name, &message.message, &message.status] {
        into.push(b'\t');
        write_plain(into, part);
    }
    into.push(b'\n');
}

/// Writes `text`. Every control character (C0, DEL, C1: Unicode's Cc) becomes a space, and so do U+2028 and U+2029, at
/// which some readers end a line. So one message stays one line, and no speaker can drive the listener's terminal.
fn write_plain(into: &mut Vec<u8>, text: &str) {
    let breaks = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    into.extend_from_slice(text.replace(breaks, " ").as_bytes());
}

/// Writes the whole message: a line of the JSON format. Empty members are left out.
fn write_whole(into: &mut Vec<u8>, message: &Message) {
    let Message { event, channel, name, message: text, key, status, fields, .. } = message;
    let always = [("id", &*message.id.to_string()), ("time", &rfc3339(message.time)), ("event", event)];
    let if_any = [("channel", &**channel), ("name", name), ("message", text), ("key", key), ("status", status)];
    write_object(into, &always, &if_any, fields);
}

/// Writes the JSON object after `data:`, without the id and the event, which have lines of their own. Name and message
/// are always there: scripts read both.
fn write_data(into: &mut Vec<u8>, message: &Message) {
    let Message { channel, name, message: text, key, status, fields, .. } = message;
    let always = [("name", &**name), ("message", text), ("time", &rfc3339(message.time))];
    write_object(into, &always, &[("channel", channel), ("key", key), ("status", status)], fields);
}

/// Writes a JSON object: the members that are `always` there, then those that are not empty, then the fields, if there
/// are any. Every line break is escaped.
fn write_object(into: &mut Vec<u8>, always: &[(&str, &str)], if_any: &[(&str, &str)], fields: &[(String, String)]) {
    into.push(b'{');
    let if_any = if_any.iter().filter(|(_, value)| !value.is_empty());
    for (place, (key, value)) in always.iter().chain(if_any).enumerate() {
        into.extend_from_slice(if place > 0 { b"," } else { b"" });
        json_text(into, key);
        into.push(b':');
        json_text(into, value);
    }
    if !fields.is_empty() {
        into.extend_from_slice(b",\"fields\":");
        write_fields(into, fields);
    }
    into.push(b'}');
}

/// Writes the further fields of a message as a JSON object.
pub fn write_fields(into: &mut Vec<u8>, fields: &[(String, String)]) {
    let members: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    write_object(into, &members, &[], &[]);
}

/// Writes `text` as a JSON string (RFC 8259 section 7). U+0085, U+2028 and U+2029 are escaped: some readers end a line
/// there.
fn json_text(into: &mut Vec<u8>, text: &str) {
    let mut json = serde_json::to_string(text).expect("every text can be written");
    for (end, escaped) in [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")] {
        if json.contains(end) {
            json = json.replace(end, escaped);
        }
    }
    into.extend_from_slice(json.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn said(name: &str, text: &str) -> Message {
        Message {
            id: 1_700_000_000_000_001,
            time: 1_700_000_000_000_000,
            event: Cow::Borrowed("message"),
            name: name.to_owned(),
            message: text.to_owned(),
            ..Message::default()
        }
    }

    fn encoded(message: &Message, format: Format) -> String {
        let mut frame = vec![];
        encode(message, format, &mut frame);
        String::from_utf8(frame).unwrap()
    }

    fn check(message: &Message, format: Format, expected: &str) {
        assert_eq!(encoded(message, format), expected);
    }

    #[test]
    fn a_line_is_what_the_seed_program_wrote() {
        check(&said("Florian", "Hi"), Format::Lines, "Florian Hi\r\n");
        check(&said("", "Hi"), Format::Lines, "Hi\r\n");
        check(&said("Florian", ""), Format::Lines, "Florian\r\n");
    }

    #[test]
    fn no_control_character_gets_into_a_line() {
        check(&said("a\r\nb", "c\x1b[31md"), Format::Lines, "a  b c [31md\r\n");
        check(&said("", "\0\t\x7f\u{80}\u{85}\u{9b}x\u{9f}"), Format::Lines, "      x \r\n");
        for code in (0..0x20).chain(0x7f..0xa0) {
            let control = char::from_u32(code).unwrap().to_string();
            check(&said("n", &control), Format::Lines, "n  \r\n");
        }
        check(&said("ü", "naïve 😀"), Format::Lines, "ü naïve 😀\r\n");
    }

    #[test]
    fn no_reader_finds_a_line_end_inside_a_message() {
        check(&said("a\u{2028}b", "c\u{2029}d"), Format::Lines, "a b c d\r\n");
        check(&said("\u{200b}\u{ad}", "c"), Format::Lines, "c\r\n");
        check(&said("a\u{200b}", "\u{3164}"), Format::Lines, "a\u{200b}\r\n");
        let text = encoded(&said("", "a\u{85}b\u{2028}c\u{2029}d"), Format::Json);
        assert!(text.contains(r#""message":"a\u0085b\u2028c\u2029d""#), "{text}");
    }

    #[test]
    fn sse_carries_id_event_and_json() {
        check(
            &said("Florian", "Hi\n: \"you\"\0"),
            Format::Sse,
            "id: 1700000000000001\nevent: message\ndata: {\"name\":\"Florian\",\"message\":\"Hi\\n: \\\"you\\\"\\u0000\",\
             \"time\":\"2023-11-14T22:13:20.000000Z\"}\n\n",
        );
    }

    #[test]
    fn json_leaves_out_what_is_empty() {
        check(
            &said("", "Hi"),
            Format::Json,
            "{\"id\":\"1700000000000001\",\"time\":\"2023-11-14T22:13:20.000000Z\",\"event\":\"message\",\
             \"message\":\"Hi\"}\n",
        );
    }

    #[test]
    fn channel_and_fields_are_carried_in_order() {
        let mut message = said("ci", "done");
        message.channel = "build/main".to_owned();
        message.event = Cow::Borrowed("ci");
        message.fields = vec![("status".to_owned(), "ok".to_owned()), ("branch".to_owned(), "".to_owned())];
        check(
            &message,
            Format::Json,
            "{\"id\":\"1700000000000001\",\"time\":\"2023-11-14T22:13:20.000000Z\",\"event\":\"ci\",\
             \"channel\":\"build/main\",\"name\":\"ci\",\"message\":\"done\",\"fields\":{\"status\":\"ok\",\"branch\":\"\"}}\n",
        );
        let sse = encoded(&message, Format::Sse);
        assert!(sse.contains("event: ci\n"), "{sse}");
        assert!(sse.contains(r#""channel":"build/main","fields":{"status":"ok","branch":""}"#), "{sse}");
    }

    #[test]
    fn a_message_is_seven_columns_whatever_it_holds() {
        let mut message = said("Flo\trian", "Hi\n\u{2028}\u{9b}x\u{7f}");
        (message.channel, message.status) = ("a/b".to_owned(), "b\tad".to_owned());
        let start = "1700000000000001\t2023-11-14T22:13:20.000000Z\tmessage\t";
        check(&message, Format::Tsv, &format!("{start}a/b\tFlo rian\tHi   x \tb ad\n"));
        check(&said("", "\t"), Format::Tsv, &format!("{start}\t\t \t\n"));
        check(&said("-n", ""), Format::Tsv, &format!("{start}\t-n\t\t\n"));
    }

    #[test]
    fn a_gap_is_told_in_every_format_and_has_no_id() {
        let check = |oldest: Option<u64>, format: Format, expected: &str| {
            assert_eq!(String::from_utf8(gap(Gap { after: 7, oldest }, format)).unwrap(), expected);
        };
        check(Some(9), Format::Lines, "aloud: messages after 7 may be missing; the oldest kept is 9\r\n");
        check(None, Format::Lines, "aloud: messages after 7 may be missing; none is kept\r\n");
        check(None, Format::Tsv, "\t\tgap\t\t\taloud: messages after 7 may be missing; none is kept\t\n");
        check(Some(9), Format::Sse, "event: gap\ndata: {\"after\":\"7\",\"oldest\":\"9\"}\n\n");
        check(None, Format::Sse, "event: gap\ndata: {\"after\":\"7\"}\n\n");
        check(Some(9), Format::Json, "{\"event\":\"gap\",\"after\":\"7\",\"oldest\":\"9\"}\n");
    }

    #[test]
    fn a_run_is_one_chunk_of_what_is_enough() {
        let messages = ["three", "two", "one"].map(|text| Arc::new(said("", text))).into();
        let mut replay = Replay { gap: Some(Gap { after: 7, oldest: None }), messages };
        let notice = gap(Gap { after: 7, oldest: None }, Format::Lines);
        assert_eq!(run(&mut replay, Format::Lines, false, 6), notice);
        assert_eq!(run(&mut replay, Format::Lines, true, 6), b"a\r\none\r\ntwo\r\n\r\n");
        assert_eq!(run(&mut replay, Format::Lines, false, 6), b"three\r\n");
        assert!(replay.is_empty());
    }

    #[test]
    fn who_comes_back_comes_at_a_time_of_its_own() {
        let times: std::collections::HashSet<u32> = (0..100).map(|_| retry_ms(2000)).collect();
        assert!(times.iter().all(|time| (1000..3000).contains(time)), "{times:?}");
        assert!(times.len() > 80, "a hundred out of two thousand hardly meet: {}", times.len());
    }

    #[test]
    fn a_frame_holds_its_payload_with_and_without_chunk_framing() {
        let letter = Letter::new(Arc::new(said("Florian", "Hi")));
        assert_eq!(letter.frame(Format::Lines, true), b"c\r\nFlorian Hi\r\n\r\n");
        assert_eq!(letter.frame(Format::Lines, false), b"Florian Hi\r\n");
        let long = Letter::new(Arc::new(said("", &"x".repeat(70_000))));
        assert_eq!(long.frame(Format::Lines, false).len(), 70_002);
        assert!(long.frame(Format::Lines, true).starts_with(b"11172\r\nxxx"));
    }
}
