//! A notice: a message with one sentence for people, and its facts in fields for the dashboard. Every sender's notices
//! have these field names.

use crate::http::form::KEY_LIMIT;
use crate::room::{Digest, Message, message::digest_of};

/// The content of a delivery, or of one alert in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// The message that is published if this is news. The whole line, the project and the sentence, is its text and its
    /// name is empty, so that every format shows one text.
    pub message: Message,
    /// The thing that it is about and how that stands: an equal state again is no news. `None`: every notice is news.
    pub state: Option<State>,
    /// It changes the dashboard, but is not worth a line.
    pub quiet: bool,
    /// Once this thing has ended, a state that is no end is late and is ignored.
    pub ends_once: bool,
}

/// A thing that can change, and its status: queued, failed, merged and so on. All forges share these words. A delivery
/// is such a thing too.
pub type State = (Digest, &'static str);

/// Whether a thing with this status has ended.
pub fn is_over(status: &str) -> bool {
    !["queued", "waiting", "running"].contains(&status)
}

/// A thing's `name` as a key. A name that is too long is cut, and a digest that tells it from all others is appended.
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
