//! Parameters in the value of a header: `key=value; key="quoted value"` (RFC 9110 section 5.6.6).

/// The parts of `text` between separators that stand outside of quotes, and whether the last quote ends.
pub fn parts(text: &str, separator: char) -> (Vec<&str>, bool) {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |letter: char| {
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && quoted && !escaped;
        letter == separator && !quoted
    };
    let parts = text.split(ends).collect();
    (parts, !quoted)
}

/// The value of the first `key` in `parameters`, whatever its case, without the quotes and their backslashes.
pub fn value(parameters: &str, key: &str) -> Option<String> {
    let mut pairs = parts(parameters, ';').0.into_iter().filter_map(|part| part.split_once('='));
    let value = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(key))?.1.trim();
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let (_, true) = self::parts(value, ';') else { return None }; // its quotes do not end
    let mut escaped = false;
    let letters = quoted.strip_suffix('"')?.chars().filter(|letter| {
        escaped = *letter == '\\' && !escaped;
        !escaped
    });
    Some(letters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_its_quotes_do() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(value(text, "name").as_deref(), expected, "{text}");
        };
        check("name=a", Some("a"));
        check(" x=1 ; NAME = a b ;name=c", Some("a b"));
        check("x=\"a;name=b\\\";name=c\";name=\"d;\\\"e\\\\\"", Some("d;\"e\\"));
        check("name=\"\"", Some(""));
        check("name=a;x=\"", Some("a"));
        check("name=\"a", None);
        check("name=\"a\\\"", None);
        check("name=\"", None);
        check("name", None);
        check("", None);
    }
}
