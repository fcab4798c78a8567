//! A message as it is kept outside of memory: a JSON object without the id, which is its key there. What reads it
//! ignores members that it does not know, so a newer record can be read by an older server.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::message::{DEFAULT_EVENT, Message};

/// Writes `message`, all but its id.
pub fn write(message: &Message) -> Vec<u8> {
    let Message { id: _, time, event, channel, name, message, fields } = message;
    json!({"time": time, "event": event, "channel": channel, "name": name, "message": message, "fields": fields})
        .to_string()
        .into_bytes()
}

/// Reads the message of this `id`; `None` where the record is none.
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
