//! Records: messages as they are kept outside of memory. A record is a JSON object without the id, which is its key
//! there. Unknown members are ignored, so an older server can read a newer record.

use std::borrow::Cow;
use std::io::Write;

use serde_json::Value;

use crate::room::message::{DEFAULT_EVENT, Message};

/// Writes the record of `message`, without its id. Every speaker waits for this. So it is written member by member,
/// which takes a fifth of the time of a [`Value`].
pub fn write(message: &Message) -> Vec<u8> {
    const TAKES_ALL: &str = "a Vec takes every byte";
    let Message { id: _, time, event, channel, name, message: text, key, status, fields } = message;
    let mut record = Vec::with_capacity(message.weight()); // enough, unless much is escaped
    write!(record, "{{\"time\":{time}").expect(TAKES_ALL);
    for (member, value) in [
        ("event", event.as_ref()),
        ("channel", channel),
        ("name", name),
        ("message", text),
        ("key", key),
        ("status", status),
    ] {
        record.extend([",\"", member, "\":"].iter().flat_map(|part| part.bytes()));
        serde_json::to_writer(&mut record, value).expect(TAKES_ALL);
    }
    record.extend_from_slice(b",\"fields\":");
    serde_json::to_writer(&mut record, fields).expect(TAKES_ALL);
    record.push(b'}');
    record
}

/// Reads the `record` of the message with this `id`; `None` if the bytes are no record.
pub fn read(id: u64, record: &[u8]) -> Option<Message> {
    let record: Value = serde_json::from_slice(record).ok()?;
    let text = |key: &str| record[key].as_str().map(str::to_owned);
    let fields = record["fields"].as_array()?.iter().map(|field| {
        let (key, value) = (field.get(0)?.as_str()?, field.get(1)?.as_str()?);
        Some((key.to_owned(), value.to_owned()))
    });
    let event = match record["event"].as_str()? {
        DEFAULT_EVENT => Cow::Borrowed(DEFAULT_EVENT),
        event => Cow::Owned(event.to_owned()),
    };
    Some(Message {
        id,
        time: record["time"].as_u64()?,
        event,
        channel: text("channel")?,
        name: text("name")?,
        message: text("message")?,
        key: text("key").unwrap_or_default(), // a server before 0.2 writes none
        status: text("status").unwrap_or_default(),
        fields: fields.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let check = |event: &'static str, name: &str, text: &str, fields: &[(&str, &str)]| {
            let message = Message {
                id: u64::MAX,
                time: 1_700_000_000_000_001,
                event: event.into(),
                channel: "a/b".to_owned(),
                name: name.to_owned(),
                message: text.to_owned(),
                key: "a key".to_owned(),
                status: "failed".to_owned(),
                fields: fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            };
            assert_eq!(read(u64::MAX, &write(&message)), Some(message));
        };
        check("message", "Florian", "Hi", &[]);
        check("ci", "", "\0\r\n\u{1b}\"\\ \u{FFFD} ü \u{1F600}", &[("mood", "good"), ("mood", ""), ("z", "\"")]);
    }

    #[test]
    fn what_is_no_record_is_none() {
        for bad in ["", "{}", "[]", "null", r#"{"time":1}"#, "\u{0}"] {
            assert_eq!(read(1, bad.as_bytes()), None, "{bad}");
        }
        let more = r#"{"time":1,"event":"x","channel":"","name":"","message":"","fields":[],"more":1}"#;
        assert!(read(1, more.as_bytes()).is_some(), "a member more is ignored");
        assert_eq!(read(1, more.replace("[]", "[[1]]").as_bytes()), None);
    }
}
