//! The rules for every form: it becomes a message that keeps the contract's rules, or one line that says what to send;
//! and a form written as curl and browsers write it is read as it was meant.

use std::borrow::Cow;

use aloud::config::FIELDS_LIMIT;
use aloud::http::form;
use aloud::names::{is_invisible, is_plain_name};
use aloud::room::message::Message;

/// A boundary as curl makes them.
pub const BOUNDARY: &str = "------------------------d74496d66958873e";

/// Reads a form and panics unless what comes of it keeps the rules.
pub fn read(query: &str, content_type: Option<&str>, body: &[u8]) -> Option<Message> {
    match form::message(query, content_type, body, "") {
        Ok(message) => {
            assert!(!is_invisible(&message.name) || !is_invisible(&message.message), "something is said");
            assert!(is_plain_name(&message.event), "the event is {:?}", message.event);
            assert!(message.fields.len() <= FIELDS_LIMIT, "there are {} fields", message.fields.len());
            assert!(message.fields.iter().all(|(key, _)| is_plain_name(key)), "the fields are {:?}", message.fields);
            Some(message)
        }
        Err(refusal) => {
            assert!([400, 415].contains(&refusal.status), "the status is {}", refusal.status);
            let sound = refusal.line.contains("; ") && !refusal.line.chars().any(char::is_control);
            assert!(sound, "a refusal is one line that says what to send: {:?}", refusal.line);
            assert!(refusal.line.len() < 1000, "the line has {} bytes", refusal.line.len());
            None
        }
    }
}

/// Panics unless a multipart form of these texts, with this name and message, is read as it was meant.
pub fn check_multipart(name: &[u8], message: &[u8]) {
    let delimiter = format!("\r\n--{BOUNDARY}");
    let holds_it = |text: &[u8]| text.windows(delimiter.len()).any(|bytes| bytes == delimiter.as_bytes());
    if says_nothing(name, message) || holds_it(name) || holds_it(message) {
        return;
    }
    let part = |key: &str, value: &[u8]| {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let body = [part("name", name), part("message", message), format!("--{BOUNDARY}--\r\n").into_bytes()].concat();
    check_texts(Some(&format!("multipart/form-data; boundary={BOUNDARY}")), &body, name, message);
}

/// Checks a form as `curl --data-urlencode` sends it.
pub fn check_urlencoded(name: &[u8], message: &[u8]) {
    if says_nothing(name, message) {
        return;
    }
    let encoded = |text: &[u8]| text.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let body = format!("name={}&message={}", encoded(name), encoded(message));
    check_texts(Some("application/x-www-form-urlencoded"), body.as_bytes(), name, message);
}

/// Whether nobody would see anything of either text: such a form is refused.
fn says_nothing(name: &[u8], message: &[u8]) -> bool {
    [name, message].iter().all(|text| is_invisible(&String::from_utf8_lossy(text)))
}

fn check_texts(content_type: Option<&str>, body: &[u8], name: &[u8], message: &[u8]) {
    let found = read("", content_type, body).expect("the form is well-formed");
    let meant: [Cow<'_, str>; 2] = [String::from_utf8_lossy(name), String::from_utf8_lossy(message)];
    assert_eq!([found.name, found.message], meant, "name and message");
}
