//! A message and its id. A message knows no wire format; `room/frame.rs` does.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::room::standing::{GONE, standing};

/// The event name of a message whose speaker gave none, as in the HTML standard's server-sent events.
pub const DEFAULT_EVENT: &str = "message";

/// The event name of a host's beats. They are not kept for listeners that come later, because the next beat says how
/// the host stands.
pub const HOST_EVENT: &str = "host";

/// The event name of a change of a host: up, late, failed, down, a reboot.
pub const HOST_STATE_EVENT: &str = "host-state";

/// The states of a host, as its status and the field [`STATE`] of its changes have them; the better ones first.
pub const HOST_STATES: [&str; 4] = ["up", "late", "failed", "down"];

/// The field of a beat and of a change of a host that says how the host stands. The server says it.
pub const STATE: &str = "state";

/// The field of a change of a host that is said together with others in one line: how many changes the line is about.
pub const AMONG: &str = "among";

/// The field of a change that is not worth a line, because its host flaps: how often it has changed lately.
pub const FLAPS: &str = "flaps";

/// The event name of a forge's news: its pipelines, pushes and releases.
pub const CI_EVENT: &str = "ci";

/// The event name of a monitor's alerts.
pub const ALERT_EVENT: &str = "alert";

/// The event name of a forge's changes that are not worth a line: queued, pending and repeated states.
pub const CI_UPDATE_EVENT: &str = "ci.update";

/// The event name of a number's values. Only the newest values are known, apart from the history.
pub const NUMBER_EVENT: &str = "number";

/// Events that only those listeners hear who ask for them by name, or for everything. They come often and say little to
/// a reader.
pub const QUIET_EVENTS: [&str; 3] = [HOST_EVENT, CI_UPDATE_EVENT, NUMBER_EVENT];

/// A hash of fixed size that identifies a thing by its names.
pub type Digest = [u8; 32];

/// The digest of the thing that `parts` identify. Each part's length is hashed too, so that no two lists of parts have
/// one digest.
pub fn digest_of(parts: &[impl AsRef<[u8]>]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts.iter().map(AsRef::as_ref) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// One thing said by one speaker. Its members are those of its record in Redis (`keep/relay/entry.rs`).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "redis", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The place in the order of all messages. Zero until the hub has taken the message.
    #[cfg_attr(feature = "redis", serde(skip))]
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
    /// The thing on which this is the newest word, together with the event and the channel; may be empty.
    #[cfg_attr(feature = "redis", serde(default))] // a server before 0.2 writes none
    pub key: String,
    /// How the thing stands, in one word; may be empty.
    #[cfg_attr(feature = "redis", serde(default))]
    pub status: String,
    /// Further fields, in the speaker's order.
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// The bytes this message weighs in the history: its texts and the record that holds them.
    pub fn weight(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        let texts = [&self.channel, &self.name, &self.message, &self.key, &self.status];
        size_of::<Message>() + self.event.len() + texts.iter().map(|text| text.len()).sum::<usize>() + fields
    }

    /// Whether the history keeps it. It does not keep beats and numbers: the next one says how things stand. It keeps
    /// that a number is gone. It does not keep what is [not said](Self::is_unsaid).
    pub fn is_kept(&self) -> bool {
        let is_number = self.event == NUMBER_EVENT && standing(&self.status) != GONE;
        self.event != HOST_EVENT && !is_number && !self.is_unsaid()
    }

    /// Whether it is a change of a host that is not worth a line of its own. Only those hear it who ask for such
    /// changes.
    pub fn is_unsaid(&self) -> bool {
        self.event == HOST_STATE_EVENT && [AMONG, FLAPS].iter().any(|field| self.field(field).is_some())
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The id that follows `last` at time `now`, in microseconds since 1970. It is `now`, or one more than `last` if the
/// clock has not moved on or was set back. So ids only ever increase. Across a restart they do if the clock does; with
/// a store, which knows the last one, they always do.
pub fn next_id(last: u64, now: u64) -> u64 {
    now.max(last + 1)
}

/// The result of publishing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: u64,
    /// How many letterboxes it was put in.
    pub listeners: usize,
}

/// Why the hub refuses a listener or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The room has as many listeners as it may.
    Full,
    /// The server stops.
    Stopping,
    /// The store has no room left for the message.
    NoRoom,
    /// Redis has no room left for the message.
    NoRoomInRedis,
    /// The store or Redis cannot keep the message now.
    CannotKeep,
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
}
