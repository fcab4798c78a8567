//! Every message is found again by a listener, in every format. The input is the name, the message, the channel, the
//! event, and keys and values of fields, with NUL between them.

#![no_main]

use libfuzzer_sys::fuzz_target;

use aloud::names::is_plain_name;
use aloud::room::message::Message;

#[path = "../judges/mod.rs"]
#[allow(dead_code)]
mod judges;

use judges::formats::check_frames;

/// 9999-12-31, the last day that RFC 3339 can say, in microseconds since 1970.
const LAST_DAY: u64 = 253_402_214_400_000_000;

fuzz_target!(|bytes: &[u8]| {
    let mut texts = bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    let mut text = || texts.next().unwrap_or_default();
    let (name, message, channel, event) = (text(), text(), text(), text());
    let mut fields = vec![];
    while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
        if is_plain_name(&key) && !fields.iter().any(|(known, _)| *known == key) {
            fields.push((key, value));
        }
    }
    let id = bytes.iter().fold(0_u64, |id, byte| id.wrapping_mul(257).wrapping_add((*byte).into()));
    let event = if is_plain_name(&event) { event } else { "message".to_owned() };
    check_frames(&Message { id, time: id % LAST_DAY, event: event.into(), channel, name, message, fields, ..Message::default() });
});
