//! A message and its id. A message knows no wire format; `room/frame.rs` does.

use std::borrow::Cow;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::clock;

/// The event name of a message whose speaker gave none, as in the HTML standard's server-sent events.
pub const DEFAULT_EVENT: &str = "message";

/// The event name of a host's beats. They are not kept for listeners that come later, because the next beat says how
/// the host stands.
pub const HOST_EVENT: &str = "host";
/// The event name of a forge's news: its pipelines, pushes and releases.
pub const CI_EVENT: &str = "ci";

/// The event name of a forge's changes that are not worth a line: queued, pending and repeated states.
pub const CI_UPDATE_EVENT: &str = "ci.update";

/// Events that only those listeners hear who ask for them by name, or for everything. They come often and say little to
/// a reader.
pub const QUIET_EVENTS: [&str; 2] = [HOST_EVENT, CI_UPDATE_EVENT];

/// The longest channel segment, event name or field key, in characters.
pub const NAME_LIMIT: usize = 64;

/// The deepest channel, in segments.
pub const CHANNEL_DEPTH: usize = 8;

/// A hash of fixed size that identifies a thing by its names.
pub type Mark = [u8; 32];

/// The mark of the thing that `parts` identify. Each part's length is hashed too, so that no two lists of parts have
/// one mark.
pub fn mark_of(parts: &[&[u8]]) -> Mark {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// One thing said by one speaker.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// The place in the order of all messages. Zero until the hub has taken the message.
    pub id: u64,
    /// The time it was said: microseconds since 1970, UTC, by the server's clock. Zero until the hub has taken it.
    pub time: u64,
    /// The name of the server-sent event.
    pub event: Cow<'static, str>,
    /// The channel: segments joined by `/`; empty for plain `/say`.
    pub channel: String,
    /// The speaker's name; may be empty.
    pub name: String,
    /// The text; may be empty.
    pub message: String,
    /// Further fields, in the speaker's order.
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// The bytes this message weighs in the history: its texts and the record that holds them.
    pub fn weight(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        size_of::<Message>() + self.event.len() + self.channel.len() + self.name.len() + self.message.len() + fields
    }

    /// [`time`](Self::time) as a point in time.
    pub fn said_at(&self) -> SystemTime {
        clock::time_of(self.time)
    }
}

/// The id that follows `last` at time `now`, in microseconds since 1970. It is `now`, or one more than `last` if the
/// clock has not moved on or was set back. So ids only ever increase. Across a restart they do if the clock does; with
/// a store, which knows the last one, they always do.
pub fn next_id(last: u64, now: u64) -> u64 {
    now.max(last + 1)
}

/// True for 1 to 64 characters out of `A-Z a-z 0-9 _ . -`: an event name, a field key, a channel segment.
pub fn is_plain_name(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Whether `text` shows nothing: it is empty, or has only characters without a glyph (Unicode's
/// Default_Ignorable_Code_Point, and the blank of Braille). Spaces are not among them.
pub fn is_invisible(text: &str) -> bool {
    text.chars().all(|char| {
        matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
    })
}

/// Whether `channel` is `top` or below it. Every channel is below the empty one.
pub fn is_within(channel: &str, top: &str) -> bool {
    let below = channel.strip_prefix(top);
    top.is_empty() || below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// True for 1 to 8 plain names joined by `/`, none of them `.` or `..`, which clients take out of a path.
pub fn is_channel(channel: &str) -> bool {
    let is_segment = |name: &str| is_plain_name(name) && !matches!(name, "." | "..");
    channel.split('/').count() <= CHANNEL_DEPTH && channel.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_clock_and_never_go_back() {
        assert_eq!(next_id(0, 1_700_000_000_000_000), 1_700_000_000_000_000);
        assert_eq!(next_id(5, 5), 6, "two messages in one microsecond");
        assert_eq!(next_id(10, 3), 11, "the clock was set back");
    }

    #[test]
    fn channels_are_plain_names_joined_by_slashes() {
        for good in ["a", "...", ".a", "a/b", "build.main_1-x/2", "1/2/3/4/5/6/7/8", &"x".repeat(64)] {
            assert!(is_channel(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a b",
            ".",
            "..",
            "a/../b",
            "ä",
            "a%20b",
            "1/2/3/4/5/6/7/8/9",
            &"x".repeat(65),
        ] {
            assert!(!is_channel(bad), "{bad}");
        }
    }
}
