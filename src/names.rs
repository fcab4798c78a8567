//! The plain names: of events, of channels, of fields.

/// The longest channel segment, event name or field key, in characters.
pub const NAME_LIMIT: usize = 64;

/// The rule for plain names, for an error line.
pub const PLAIN_NAME: &str = "1 to 64 of A-Z a-z 0-9 _ . -";

/// The deepest channel, in segments.
pub const CHANNEL_DEPTH: usize = 8;

/// Whether `name` keeps to [`PLAIN_NAME`]: an event name, a field key, a channel segment.
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

/// Whether `channel` is 1 to 8 plain names joined by `/`. None of them is `.` or `..`, which clients take out of a
/// path.
pub fn is_channel(channel: &str) -> bool {
    let is_segment = |name: &str| is_plain_name(name) && !matches!(name, "." | "..");
    channel.split('/').count() <= CHANNEL_DEPTH && channel.split('/').all(is_segment)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_rule_states_the_limit_that_holds() {
        assert!(PLAIN_NAME.starts_with(&format!("1 to {NAME_LIMIT} ")));
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
