//! Every multipart form is read or refused, and what curl writes is read as it was meant. The input is the boundary, a
//! line break, and the body.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../judges/mod.rs"]
#[allow(dead_code)]
mod judges;

use judges::forms;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (boundary, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let content_type = format!("multipart/form-data; boundary={}", String::from_utf8_lossy(boundary));
    forms::read("", Some(&content_type), body);
    forms::check_multipart(boundary, body);
});
