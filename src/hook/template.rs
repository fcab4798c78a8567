//! Messages out of any JSON: by the templates in the query, or by the members that senders usually say something in.

use serde_json::Value;

use crate::hook::notice::{Notice, key_of};
use crate::hook::payload::{in_one_line, member};
use crate::http::{Refusal, form};
use crate::names::is_invisible;

/// The members that usually say something, most telling first.
const USUAL: [&str; 8] = ["message", "text", "msg", "content", "body", "title", "summary", "description"];

/// The longest text, in characters.
const TEXT_LIMIT: usize = 1000;

/// How deep the usual members are looked for.
const DEPTH: usize = 6;

/// The notice that the templates in `query` make of `payload`; `None` if it says nothing.
///
/// # Errors
/// 400 if the templates make no good message, or if there is none for the message and no usual member.
pub fn notice(query: &str, payload: &Value, channel: &str) -> Result<Option<Notice>, Refusal> {
    let mut pairs = form::pairs(query, None, b"")?;
    let tells_status = pairs.iter().any(|(key, text)| key == "status" && text.contains('{'));
    let has_message = pairs.iter().any(|(key, _)| key == "message");
    for (key, text) in &mut pairs {
        *text = filled(text, payload).and_then(|text| in_one_line(&text, TEXT_LIMIT)).unwrap_or_default();
        match key.as_str() {
            "key" => *text = key_of(text),
            "status" => *text = key_of(&status(text)),
            _ => {}
        }
    }
    if !has_message && let Some(text) = usual(payload) {
        pairs.push(("message".to_owned(), text));
    }
    pairs.retain(|(_, text)| !is_invisible(text));
    let given = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, text)| text);
    if !["name", "message", "value"].into_iter().any(|name| given(name).is_some()) {
        match (given("key"), given("status")) {
            (Some(key), Some(status)) if tells_status => {
                pairs.push(("message".to_owned(), format!("{key} is {status}")))
            }
            _ if has_message || children(payload).is_empty() => return Ok(None),
            _ => {
                let line = format!("it has none of {}; give the URL message=TEMPLATE", USUAL.join(", "));
                return Err(Refusal::bad(line));
            }
        }
    }
    Ok(Some(Notice { message: form::message_of(pairs, channel)?, ..Notice::default() }))
}

/// Words that senders use for how something stands. The first of each row is the one that is written here.
const STATUSES: [&str; 7] = [
    "failed failure failing still_failing broken unhealthy errored killed timed_out timedout",
    "firing alerting triggered unresolved problem alarm emergency",
    "down offline unreachable",
    "success succeeded successful healthy fixed passing",
    "resolved recovered recovery clear cleared",
    "up online",
    "warn warning unstable partiallysucceeded",
];

/// A sender's word for how something stands, as it is written here: `up` for `✅ Up`, and `failed` for `FAILURE`.
fn status(text: &str) -> String {
    let word = text.trim_matches(|char: char| !char.is_alphanumeric()).to_lowercase();
    let in_one = word.replace(' ', "_");
    let known = STATUSES.iter().find(|words| words.split(' ').any(|known| known == in_one));
    known.and_then(|words| words.split(' ').next()).map_or(word.clone(), str::to_owned)
}

/// `template` with what `value` says of it in place of each `{name}`; `None` if it says nothing of one.
pub fn fill(template: &str, mut value: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.extend([before, &value(name)?]);
        rest = behind;
    }
    Some(filled + rest)
}

/// `template` with the texts in `payload` at the paths that it names.
fn filled(template: &str, payload: &Value) -> Option<String> {
    fill(template, |path| {
        let mut found = vec![];
        find(payload, path, &mut found);
        Some(found.join(", "))
    })
}

/// Finds the texts at `path` below `value`: names of members, numbers of elements, `last` or `*` for all, joined with
/// dots.
fn find(value: &Value, path: &str, found: &mut Vec<String>) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    match name {
        "" => found.extend(text(value)),
        "*" => children(value).into_iter().for_each(|one| find(one, rest, found)),
        name => member(value, name).into_iter().for_each(|one| find(one, rest, found)),
    }
}

/// The payload, if it is a text. Else the first text in one of the usual members: those of the whole first, then those
/// of its parts, level by level.
fn usual(payload: &Value) -> Option<String> {
    let said = |value: &Value| in_one_line(&text(value).filter(|_| value.is_string())?, TEXT_LIMIT);
    if payload.is_string() {
        return said(payload);
    }
    let mut level = vec![payload];
    for _ in 0..DEPTH {
        let in_level = |name: &&str| level.iter().find_map(|value| said(value.get(*name)?));
        if let Some(found) = USUAL.iter().find_map(in_level) {
            return Some(found);
        }
        level = level.into_iter().flat_map(children).collect();
    }
    None
}

/// The parts of a value, those first that usually say something.
fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| USUAL.iter().position(|usual| usual == name).unwrap_or(USUAL.len()));
            members.into_iter().map(|(_, value)| value).collect()
        }
        _ => vec![],
    }
}

/// The text of a value that is one; `None` for JSON in a text too, which nobody reads.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.trim() == "null" => None,
        Value::String(text) if text.trim_start().starts_with(['{', '[']) && is_json(text) => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(word) => Some(word.to_string()),
        _ => None,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::room::Message;

    #[test]
    fn a_template_is_filled_with_what_stands_there() {
        let payload = json!({
            "a": {"b": [{"c": "x"}, {"c": 5}, {"d": true}]},
            "none": null, "text": "two\nlines", "number": 1.5, "json": "{\"a\":1}", "null": "null", "list": ["p", null, "q"]
        });
        let check = |template: &str, expected: &str| assert_eq!(filled(template, &payload).unwrap(), expected);
        check("<{a.b.0.c}>", "<x>");
        check("{a.b.*.c} {a.b.2.d}", "x, 5 true");
        check("{list.*} {list.last} {a.b.last.d}", "p, q q true");
        check("{a}{a.b}{none}{missing}{a.b.9.c}{a.b.x}{text.x}{json}{null}{}", "");
        check("{number} {text}", "1.5 two\nlines");
        check("a } b { c", "a } b { c");
        check("{a.b.0.c", "{a.b.0.c");
        check("", "");
    }

    #[test]
    fn the_usual_members_are_found_without_a_template_the_outer_ones_first() {
        let check = |payload: Value, expected: Option<&str>| assert_eq!(usual(&payload).as_deref(), expected);
        check(json!({"title": "t", "message": "m", "text": "x"}), Some("m"));
        check(json!({"title": "t", "message": " ", "text": null}), Some("t"));
        check(json!({"a": {"message": "inner"}, "description": "outer"}), Some("outer"));
        check(json!({"a": [{"b": {"text": "deep"}}]}), Some("deep"));
        check(json!({"a": {"text": "other"}, "message": {"text": "of the message"}}), Some("of the message"));
        check(json!([[{"msg": "in lists"}]]), Some("in lists"));
        check(json!({"message": {"a": 1}, "text": ["x"], "title": "{\"a\":[null]}"}), None);
        check(json!("text"), Some("text"));
        check(Value::Null, None);
        check(json!({"message": "x".repeat(5000)}), Some(&("x".repeat(999) + "…")));
    }

    #[test]
    fn the_query_says_what_becomes_of_it() {
        let payload = json!({"who": "Ana", "state": "🔴 Down", "n": 5, "long": "x".repeat(500)});
        let said = |query: &str| notice(query, &payload, "c").unwrap().map(|notice| notice.message);
        let message_of =
            said("name={who}&message=n+is+{n}&event=alert&key=k+{who}&status={state}&n={n}&none={x}&token=t");
        let Message { name, message: text, event, key, status, fields, channel, .. } = message_of.unwrap();
        assert_eq!([&name, &text, &*event, &key, &status, &channel], ["Ana", "n is 5", "alert", "k Ana", "down", "c"]);
        assert_eq!(fields, [("n".to_owned(), "5".to_owned())]);
        assert_eq!(said("message={missing}"), None);
        assert_eq!(said("message=&key=k&status={state}").unwrap().message, "k is down");
        assert_eq!(said("message={missing}&key=k&status=down"), None, "the delivery does not say so");
        assert_eq!(said("key={missing}&status=down&message={missing}"), None);
        let line = "it has none of message, text, msg, content, body, title, summary, description; give the URL message=TEMPLATE";
        assert_eq!(notice("key={missing}&status=down", &payload, "").unwrap_err().line, line);
        assert!(notice("", &json!({}), "").unwrap().is_none());
        assert_eq!(said("message=x&key={long}").unwrap().key.chars().count(), 128);
        let statuses = ["Still Failing", "timed out", "🟢 Up", "Recovered", "weird one"].map(super::status);
        assert_eq!(statuses, ["failed", "failed", "up", "resolved", "weird one"]);
        let number = said("event=number&name=n&value={n}").unwrap();
        assert_eq!((number.key.as_str(), number.message.as_str()), ("n", "5"));
        assert!(notice("message=x&event=two+words", &payload, "").is_err());
    }
}
