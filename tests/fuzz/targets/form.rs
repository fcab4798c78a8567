//! Every query, type and body of `/say` becomes a message that keeps the rules, or a refusal. The input is the query, a
//! line break, the content type, a line break, the body.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../judges/mod.rs"]
#[allow(dead_code)]
mod judges;

use judges::{formats, forms};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (query, content_type, body) = (part(), part(), part());
    let query = String::from_utf8_lossy(query);
    let content_type = String::from_utf8_lossy(content_type);
    let content_type = Some(content_type.as_ref()).filter(|content_type| !content_type.is_empty());
    if let Some(message) = forms::read(&query, content_type, body) {
        formats::check_frames(&message);
    }
    forms::check_urlencoded(query.as_bytes(), body);
});
