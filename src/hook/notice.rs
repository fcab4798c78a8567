//! A notice: one sentence for people, and its facts in fields for the dashboard. Every sender's notices have these
//! field names.

use std::borrow::Cow;

use crate::hook::sender::Sender;
use crate::room::message::{Message, digest_of};

/// The content of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// The sort of thing: a pipeline, a push, an alert and so on.
    pub kind: &'static str,
    /// How the thing stands, or what was done: queued, failed, pushed, merged and so on. All forges share these words.
    pub status: &'static str,
    /// The sentence, without the project.
    pub sentence: String,
    /// It changes the dashboard, but is not worth a line.
    pub quiet: bool,
    /// The thing that has this status, unique within the forge: an equal status again is no news. `None`: every notice
    /// is news.
    pub thing: Option<String>,
    /// Once this thing has ended, a state that is no end is late and is ignored.
    pub ends_once: bool,
    /// The name of the thing on which this is the newest word.
    pub key: Option<String>,
    /// The facts that are known, by plain names.
    pub fields: Vec<(&'static str, String)>,
}

/// Whether a thing with this status has ended.
pub fn is_over(status: &str) -> bool {
    !["queued", "waiting", "running"].contains(&status)
}

/// Characters shown of a commit's hash; forges show as many.
pub const SHORT_SHA: usize = 8;

impl Notice {
    /// The fact of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        Some(&self.fields.iter().find(|(key, _)| *key == name)?.1)
    }

    /// The message that is published. The whole line, the project and the sentence, is the message and the name is
    /// empty, so that every format shows one text.
    pub fn into_message(self, sender: Sender, event: &'static str, channel: &str) -> Message {
        let message = match self.field("project") {
            Some(project) => format!("{project}: {}", self.sentence),
            None => self.sentence.clone(),
        };
        let key = self.key.filter(|_| event == sender.event()).unwrap_or_default();
        let status = if key.is_empty() { String::new() } else { self.status.to_owned() };
        let forge = sender.is_forge().then(|| ("forge", sender.name().to_owned()));
        let fields = forge.into_iter().chain([("kind", self.kind.to_owned())]).chain(self.fields);
        let fields = fields.map(|(name, fact)| match name {
            "sha" => (name.to_owned(), fact.chars().take(SHORT_SHA).collect()),
            _ => (name.to_owned(), fact),
        });
        let (event, channel) = (Cow::Borrowed(event), channel.to_owned());
        Message { event, channel, message, key, status, fields: fields.collect(), ..Message::default() }
    }
}

/// The longest key, in characters.
const KEY_LIMIT: usize = 128;

/// A thing's `name` as a key. Of one that is too long the end is cut, and what tells it from all others is appended.
pub fn key_of(name: &str) -> String {
    if name.chars().count() <= KEY_LIMIT {
        return name.to_owned();
    }
    let digest = digest_of(&[name.as_bytes()]).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    name.chars().take(KEY_LIMIT - 14).chain("… ".chars()).chain(digest.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_readable_and_one_that_is_too_long_is_still_one_things_own() {
        assert_eq!(key_of("group/app main CI"), "group/app main CI");
        let long = "ä".repeat(127);
        assert_eq!(key_of(&long), long);
        let (one, other) = (key_of(&(long.clone() + " 1")), key_of(&(long + " 2")));
        assert!(one != other && one.chars().count() == 128 && one.contains('…'), "{one} {other}");
    }
}
