//! A message as bytes: lines, server-sent events or JSON, and the chunk framing of HTTP/1.1 around them.
//! The only file that knows a wire format.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::message::Message;

/// How a listener wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `NAME MESSAGE\r\n`: what the eye and the shell read.
    Lines,
    /// Server-sent events, WHATWG HTML section 9.2: what a browser's `EventSource` reads.
    Sse,
    /// One JSON object a line (NDJSON): what `jq` reads.
    Json,
}

/// Ends a chunked stream: the last chunk and no trailers, RFC 9112 section 7.1.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How long an `EventSource` waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2000;

/// One message in one format, its chunk framing around it, encoded once for all who want it so.
#[derive(Debug)]
pub struct Frame {
    bytes: Box<[u8]>,
    payload: Range<usize>,
}

impl Frame {
    /// The frame as one chunk, for HTTP/1.1.
    pub fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame alone, for HTTP/1.0, which knows no chunks.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    fn new(payload: &[u8]) -> Frame {
        let bytes = chunk(payload);
        let end = bytes.len() - CRLF.len();
        Frame { bytes: bytes.into(), payload: end - payload.len()..end }
    }
}

/// A message on its way to the listeners, with its frames. Each frame is encoded by the first hand that needs it:
/// outside every lock of ours, and only in the formats somebody listens in.
pub struct Letter {
    /// What was said; the history shares it.
    pub message: Arc<Message>,
    frames: [OnceLock<Frame>; 3],
}

impl Letter {
    /// A letter with no frame encoded yet.
    pub fn new(message: Arc<Message>) -> Letter {
        Letter { message, frames: Default::default() }
    }

    /// The message in `format`.
    pub fn frame(&self, format: Format) -> &Frame {
        self.frames[format as usize].get_or_init(|| Frame::new(&encode(&self.message, format)))
    }
}

/// `payload` as one chunk: its length in hexadecimal, a line break, the payload, a line break (RFC 9112 section 7.1).
pub fn chunk(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 12);
    bytes.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(CRLF);
    bytes
}

const CRLF: &[u8] = b"\r\n";

/// What a stream in `format` opens with, before the first message. No blank line ends it, because some readers
/// (httpx-sse) take a blank line after `retry:` for an event.
pub fn opening(format: Format) -> String {
    match format {
        Format::Sse => format!(": aloud\nretry: {RETRY_MS}\n"),
        Format::Lines | Format::Json => String::new(),
    }
}

/// What keeps a silent stream in `format` alive and is no message. For SSE it is a comment without the blank line,
/// because some readers (httpx-sse) take a blank line after a comment for an event once they have seen an id.
pub fn heartbeat(format: Format) -> &'static [u8] {
    match format {
        Format::Lines => b"\r\n",
        Format::Sse => b":\n",
        Format::Json => b"\n",
    }
}

/// `message` as the bytes of one frame, without chunk framing.
pub fn encode(message: &Message, format: Format) -> Vec<u8> {
    match format {
        Format::Lines => line(message),
        Format::Sse => {
            let mut frame = format!("id: {}\nevent: {}\ndata: ", message.id, message.event).into_bytes();
            write_data(&mut frame, message);
            frame.extend_from_slice(b"\n\n");
            frame
        }
        Format::Json => {
            let mut frame = Vec::with_capacity(160 + message.name.len() + message.message.len());
            write_whole(&mut frame, message);
            frame.push(b'\n');
            frame
        }
    }
}

/// `NAME MESSAGE\r\n`, or the one that is not empty. Every control character (C0, DEL, C1: Unicode's Cc) becomes a
/// space: one message stays one line, and nobody can speak to the listener's terminal.
fn line(message: &Message) -> Vec<u8> {
    let between = if message.name.is_empty() || message.message.is_empty() { "" } else { " " };
    let text = [message.name.as_str(), between, message.message.as_str(), "\r\n"];
    let mut line = String::with_capacity(text.iter().map(|part| part.len()).sum());
    for part in &text[..3] {
        line.extend(part.chars().map(|char| if char.is_control() { ' ' } else { char }));
    }
    line.push_str(text[3]);
    line.into_bytes()
}

/// Everything: a line of the JSON format. Empty members are left out.
fn write_whole(into: &mut Vec<u8>, message: &Message) {
    let mut object = Object::open(into);
    object.text("id", &message.id.to_string());
    object.text("time", &rfc3339(message));
    object.text("event", &message.event);
    object.text_if_any("channel", &message.channel);
    object.text_if_any("name", &message.name);
    object.text_if_any("message", &message.message);
    object.fields(message);
    object.close();
}

/// What `data:` holds, beside `id:` and `event:`. Name and message are always there: scripts read both.
fn write_data(into: &mut Vec<u8>, message: &Message) {
    let mut object = Object::open(into);
    object.text("name", &message.name);
    object.text("message", &message.message);
    object.text("time", &rfc3339(message));
    object.text_if_any("channel", &message.channel);
    object.fields(message);
    object.close();
}

/// A JSON object under way. Its members come in the order they are written, and no line break comes out unescaped.
struct Object<'a> {
    into: &'a mut Vec<u8>,
    empty: bool,
}

impl Object<'_> {
    fn open(into: &mut Vec<u8>) -> Object<'_> {
        into.push(b'{');
        Object { into, empty: true }
    }

    fn close(self) {
        self.into.push(b'}');
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        json_text(self.into, value);
    }

    fn text_if_any(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    fn fields(&mut self, message: &Message) {
        if !message.fields.is_empty() {
            self.key("fields");
            let mut fields = Object::open(self.into);
            message.fields.iter().for_each(|(key, value)| fields.text(key, value));
            fields.close();
        }
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.into.push(b',');
        }
        self.empty = false;
        json_text(self.into, key);
        self.into.push(b':');
    }
}

/// `text` as a JSON string, RFC 8259 section 7.
fn json_text(into: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(into, text).expect("a Vec takes every byte");
}

/// When it was said, RFC 3339, UTC, to the microsecond.
fn rfc3339(message: &Message) -> String {
    humantime::format_rfc3339_micros(message.said_at()).to_string()
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
            channel: String::new(),
            name: name.to_owned(),
            message: text.to_owned(),
            fields: vec![],
        }
    }

    fn check(message: &Message, format: Format, expected: &str) {
        assert_eq!(String::from_utf8(encode(message, format)).unwrap(), expected);
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
        let sse = String::from_utf8(encode(&message, Format::Sse)).unwrap();
        assert!(sse.contains("event: ci\n"), "{sse}");
        assert!(sse.contains(r#""channel":"build/main","fields":{"status":"ok","branch":""}"#), "{sse}");
    }

    #[test]
    fn a_frame_holds_its_payload_with_and_without_chunk_framing() {
        let letter = Letter::new(Arc::new(said("Florian", "Hi")));
        assert_eq!(letter.frame(Format::Lines).chunk(), b"c\r\nFlorian Hi\r\n\r\n");
        assert_eq!(letter.frame(Format::Lines).payload(), b"Florian Hi\r\n");
        let long = Letter::new(Arc::new(said("", &"x".repeat(70_000))));
        assert_eq!(long.frame(Format::Lines).payload().len(), 70_002);
        assert!(long.frame(Format::Lines).chunk().starts_with(b"11172\r\nxxx"));
    }
}
