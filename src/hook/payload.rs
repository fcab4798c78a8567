//! A forge's JSON, read without trust: a member that is missing, null or of another type than expected counts as
//! absent.

use serde_json::Value;

/// The longest text taken over, in characters; a longer one is cut. It is twice the length that git recommends for the
/// first line of a commit, and more than most terminals show.
const TEXT_LIMIT: usize = 120;

/// The longest URL taken over, in bytes; a longer one is left out, because half a link leads nowhere.
const URL_LIMIT: usize = 2048;

/// Ten years, in seconds. A longer duration is a mistake.
const LONGEST: f64 = 10.0 * 365.25 * 86400.0;

/// The member that a delivery gets if only its beginning was read.
pub const CUT: &str = "is cut";

/// A part of a delivery.
#[derive(Clone, Copy)]
pub struct Payload<'a>(pub &'a Value);

impl<'a> Payload<'a> {
    /// The value at `path`: names of members, and numbers of elements or `last`, joined with dots. Null if there is
    /// none.
    pub fn at(self, path: &str) -> Payload<'a> {
        Payload(path.split('.').try_fold(self.0, member).unwrap_or(&Value::Null))
    }

    /// Whether something is here: an object, a text that is not empty, a number or `true`.
    pub fn is_there(self) -> bool {
        self.0.is_object() || !self.word().is_empty() || self.0.is_number() || self.0 == true
    }

    /// The text as it was sent, for comparisons; empty if there is none.
    pub fn word(self) -> &'a str {
        self.0.as_str().unwrap_or("")
    }

    /// The text made readable: one line, no control characters, not too long.
    pub fn text(self) -> Option<String> {
        readable(self.word())
    }

    /// The elements of this array; empty if it is none.
    pub fn list(self) -> impl ExactSizeIterator<Item = Payload<'a>> {
        self.0.as_array().map_or(&[][..], Vec::as_slice).iter().map(Payload)
    }

    /// The members of this object that are texts.
    pub fn members(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let members = self.0.as_object().into_iter().flatten();
        members.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The link here, if it is http or https and holds nothing that could mislead a reader.
    pub fn url(self) -> Option<String> {
        let url = self.word();
        let is_link = (url.starts_with("https://") || url.starts_with("http://"))
            && url.len() <= URL_LIMIT
            && !url.chars().any(|char| char.is_whitespace() || is_unseen(char));
        is_link.then(|| url.to_owned())
    }

    /// The name of the person here: the full name, else the login name.
    pub fn person(self) -> Option<String> {
        let names = ["full_name", "name", "login", "username"];
        self.text().or_else(|| names.iter().find_map(|name| self.at(name).text()))
    }

    /// The number of seconds here, rounded; `None` below one.
    pub fn seconds(self) -> Option<u64> {
        let seconds = self.0.as_f64()?;
        (1.0..LONGEST).contains(&seconds).then_some(seconds.round() as u64)
    }
}

/// The member of `value` with this name, or the element with this number; `last` is the last one.
pub fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let element = || match name {
        "last" => value.as_array()?.last(),
        number => value.get(number.parse::<usize>().ok()?),
    };
    value.get(name).or_else(element)
}

/// The seconds between two times, if any.
pub fn seconds_between(from: Payload<'_>, to: Payload<'_>) -> Option<u64> {
    let seconds = unix_time(to.word())?.checked_sub(unix_time(from.word())?)?;
    (1..LONGEST as i64).contains(&seconds).then_some(seconds as u64)
}

/// Parses a time to seconds since 1970: `2016-08-12T15:23:28Z`, with a fraction, an offset, or as GitLab writes it,
/// with spaces and `UTC`. Go's zero time, the year 1, counts as none.
fn unix_time(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(19)?;
    let time = humantime::parse_rfc3339_weak(date).ok()?;
    let seconds = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs() as i64;
    let zone = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|char: char| char.is_ascii_digit()));
    let offset = match zone.trim().replace(':', "").as_str() {
        "" | "Z" | "z" | "UTC" => 0,
        zone => {
            let number: i64 = zone.parse().ok().filter(|_| zone.len() == 5)?; // such as +0530
            (number / 100 * 60 + number % 100) * 60
        }
    };
    Some(seconds - offset)
}

/// The first line of `text`, with single spaces, without invisible characters, cut if it is too long; `None` if nothing
/// is left.
pub fn readable(text: &str) -> Option<String> {
    in_one_line(text.trim_start().lines().next()?, TEXT_LIMIT)
}

/// The whole of `text` in one line, as [`readable`] makes it, of at most so many characters.
pub fn in_one_line(text: &str, most: usize) -> Option<String> {
    let visible: String = text.chars().map(|char| if is_unseen(char) { ' ' } else { char }).collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => (!line.is_empty()).then_some(line),
        Some(_) => {
            let cut: String = line.chars().take(most - 1).collect();
            Some(cut.trim_end().to_owned() + "…")
        }
    }
}

/// Whether `char` is a control character or turns the direction of the text after it (Unicode's bidirectional
/// formatting). With those, the name of a branch could make a line read as something else.
fn is_unseen(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_readable() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(readable(text).as_deref(), expected, "{text:?}");
        check("Fix the tests", Some("Fix the tests"));
        check("  Fix\tthe  tests \r\n\r\nAnd more.", Some("Fix the tests"));
        check("\n\nFix", Some("Fix"));
        check("a\x1b[31mb\u{202e}c", Some("a [31mb c"));
        check("", None);
        check(" \n ", None);
        check("\u{202e}\0", None);
        check(&"x".repeat(120), Some(&"x".repeat(120)));
        check(&"x".repeat(121), Some(&format!("{}…", "x".repeat(119))));
        check(&"ü ".repeat(100), Some(&format!("{}…", "ü ".repeat(60).trim_end())));
    }

    #[test]
    fn times_in_every_notation_of_the_forges() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(unix_time(text), expected, "{text:?}");
        check("2016-08-12T15:23:28Z", Some(1_471_015_408));
        check("2016-08-12T15:23:28.886Z", Some(1_471_015_408));
        check("2016-08-12 15:23:28 UTC", Some(1_471_015_408));
        check("2016-08-12T17:23:28+02:00", Some(1_471_015_408));
        check("2016-08-12 17:23:28 +0200", Some(1_471_015_408));
        check("2016-08-12T09:53:28.5-05:30", Some(1_471_015_408));
        check("0001-01-01T00:00:00Z", None);
        check("2016-08-12T15:23:28+2", None);
        check("2016-08-12T15:23:28 and so on", None);
        check("2016-08-12", None);
        check("2016-08-12T15:23:2ü", None);
        check("", None);
    }

    #[test]
    fn what_is_of_another_type_is_not_there() {
        let value = serde_json::json!({
            "text": 5, "number": "5", "negative": -5, "half": 1.5, "huge": 1e300, "flag": "true", "list": {},
            "script": "javascript:alert(1)", "link": "https://example.org/a b", "good": "https://example.org/a?b#c",
            "deep": [0, {"x": "y"}, ["z"]],
        });
        let at = |path: &str| Payload(&value).at(path);
        assert_eq!(["text", "list", "nothing"].map(|path| at(path).text()), [const { None }; 3]);
        assert_eq!(["number", "negative", "half"].map(|path| at(path).0.as_u64()), [None; 3]);
        assert_eq!(["half", "huge", "negative", "text"].map(|path| at(path).seconds()), [Some(2), None, None, Some(5)]);
        assert!(at("flag").0 != true && at("list").list().len() == 0);
        assert_eq!(["list.last.x", "deep.last.0", "deep.1.x"].map(|path| at(path).word()), ["", "z", "y"]);
        assert_eq!(["script", "link"].map(|path| at(path).url()), [None, None]);
        assert_eq!(at("good").url().as_deref(), Some("https://example.org/a?b#c"));
    }
}
