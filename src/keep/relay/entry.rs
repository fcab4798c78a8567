//! The streams in Redis, as they are written and read: the script that adds an entry, the entries of a reply, and the
//! newest word on each thing.

use std::sync::Arc;

use crate::room::{Digest, Message, standing::standing};

/// The key of the stream of what was said. For two conversations on one Redis, give them two databases:
/// `redis://host/1`.
pub const SAID: &str = "aloud:said";

/// The key of the stream of messages that the history does not keep. So beats push out nothing that was said. All other
/// keys are in the hash slot of [`SAID`], so that a cluster has them at one node.
pub const PASSING: &str = "{aloud:said}:passing";

/// The key of the newest words on all things, by the names of the things.
pub const THINGS: &str = "{aloud:said}:things";

/// The key of the names of all things, by the ids of their newest words.
pub const SILENT: &str = "{aloud:said}:silent";

/// The prefix of the keys of messages that are said once; the digest in hexadecimal digits follows.
pub const ONCE: &str = "{aloud:said}:heard:";

/// How long Redis knows a digest, in seconds: a day. Forges send again within minutes by themselves, and by hand when
/// somebody checks why nothing came. At one delivery a second that is 9 MB in Redis.
pub const ONCE_SECONDS: u64 = 24 * 60 * 60;

/// How many entries the stream of passing messages keeps. From them, a server that starts learns which hosts there are.
pub const MOST_PASSING: usize = 1000;

/// The script that adds an entry. It marks, numbers, adds and notes in one step. So a delivery is known exactly if its
/// message is in the stream. A delivery that was refused because Redis was away is new when the forge sends it again.
/// One whose answer was lost on the way is a repeat.
pub const ADD: &str = include_str!("add.lua");

/// The script that puts back newest words that Redis has lost.
pub const BACK: &str = include_str!("back.lua");

/// An entry as Redis tells of it: its id, and its fields, each name before its content.
pub type Told = (String, Vec<Vec<u8>>);

/// The id of an entry, as Redis orders them. The first part is the id of the message.
pub type RawId = (u64, u64);

/// Writes the record of `message`, without its id: a JSON object. A newer aloud may add members, which an older one
/// ignores.
pub fn write(message: &Message) -> Vec<u8> {
    serde_json::to_vec(message).expect("texts and numbers are JSON")
}

/// Reads the `record` of the message with this `id`; `None` if the bytes are no record.
fn read(id: u64, record: &[u8]) -> Option<Message> {
    Some(Message { id, ..serde_json::from_slice(record).ok()? })
}

/// The digest as text. Half of it is enough to be unique.
pub fn hexadecimal(digest: &Digest) -> String {
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An entry of a stream.
pub struct Entry {
    /// Its own id.
    pub raw: RawId,
    /// The rest; `None` if somebody else than aloud has written it.
    pub ours: Option<Ours>,
}

/// The part of an entry that aloud has written.
pub struct Ours {
    /// The newest entry of what was said before this one.
    pub before: u64,
    /// The entry before this one on its own stream; `None` if an older aloud has added it.
    pub after: Option<u64>,
    /// The server that has added it, and its number there.
    pub from: (u64, u64),
    /// The message; `None` in an entry that only tells of what came before it.
    pub message: Option<Message>,
}

/// The entries of a stream; those whose ids are none of a stream are left out.
pub fn entries(told: Vec<Told>) -> Vec<Entry> {
    let entry = |(id, fields): Told| {
        let (id, more) = id.split_once('-')?;
        let raw = (id.parse().ok()?, more.parse().ok()?);
        Some(Entry { raw, ours: ours(raw.0, &fields) })
    };
    told.into_iter().filter_map(entry).collect()
}

fn ours(id: u64, fields: &[Vec<u8>]) -> Option<Ours> {
    let field = |name: &[u8]| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_slice());
    let text = |name: &[u8]| std::str::from_utf8(field(name)?).ok();
    let (server, number) = text(b"from")?.split_once(':')?;
    let before: u64 = text(b"before")?.parse().ok()?;
    if before >= id {
        return None; // the ids that tell of a gap have to be true
    }
    let message = match field(b"said")? {
        [] => None,
        said => Some(read(id, said)?),
    };
    let after = text(b"after").and_then(|after| after.parse().ok());
    Some(Ours { before, after, from: (server.parse().ok()?, number.parse().ok()?), message })
}

/// Writes a thing for [`THINGS`], with `message` as the newest word on it: its id, since when the thing stands so, how
/// it stands, and the record.
pub fn write_thing(message: &Message, since: u64) -> Vec<u8> {
    let head = format!("{} {since} {}\n", message.id, standing(&message.status));
    [head.into_bytes(), write(message)].concat()
}

/// The newest word on each thing and since when it stands so, the oldest word first, from what Redis has under
/// [`THINGS`].
pub fn things(kept: Vec<Vec<u8>>) -> Vec<(Arc<Message>, u64)> {
    let thing = |value: Vec<u8>| {
        let (head, record) = value.split_at(value.iter().rposition(|byte| *byte == b'\n')?);
        let mut words = std::str::from_utf8(head).ok()?.splitn(3, ' ');
        let (id, since) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((Arc::new(read(id, record)?), since))
    };
    let mut all: Vec<_> = kept.into_iter().filter_map(thing).collect();
    all.sort_by_key(|(message, _)| message.id);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::memory_wire::message;

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

    #[test]
    fn what_aloud_has_not_written_is_known_by_its_id_alone() {
        let check = |id: &str, before: &str, from: &str, said: &[u8], expected: Option<(RawId, bool)>| {
            let fields = ["before", before, "from", from, "said"].map(str::as_bytes);
            let fields = fields.into_iter().chain([said]).map(<[u8]>::to_vec).collect();
            let read = entries(vec![(id.to_owned(), fields)]).pop().map(|entry| (entry.raw, entry.ours.is_some()));
            assert_eq!(read, expected, "{id} {before} {from}");
        };
        let said = write(&message("x"));
        check("8-0", "7", "1:2", &said, Some(((8, 0), true)));
        check("8-0", "7", "1:2", b"", Some(((8, 0), true)));
        check("8-3", "8", "1:2", &said, Some(((8, 3), false)));
        check("8-0", "9", "1:2", &said, Some(((8, 0), false)));
        check("8-0", "", "1:2", &said, Some(((8, 0), false)));
        check("8-0", "7", "1", &said, Some(((8, 0), false)));
        check("8-0", "7", "1:2", b"x", Some(((8, 0), false)));
        check("8", "7", "1:2", &said, None);
    }

    #[test]
    fn things_are_read_the_longest_silent_first_and_what_is_none_is_left_out() {
        let written = write_thing(&Message { id: 9, status: "up".to_owned(), ..message("x") }, 5);
        assert!(written.starts_with(b"9 5 ok\n{") && things(vec![written])[0].0.status == "up");
        let record = String::from_utf8(write(&message("x"))).unwrap();
        let kept = [format!("9 5 on two\nlines\n{record}"), format!("8 7 ok\n{record}"), "x".to_owned(), record];
        let read: Vec<_> =
            things(kept.map(String::into_bytes).into()).iter().map(|(message, since)| (message.id, *since)).collect();
        assert_eq!(read, [(8, 7), (9, 5)]);
    }
}
