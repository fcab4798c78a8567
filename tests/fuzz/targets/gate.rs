//! A request that the gate approves means the same to tiny_http, and how the bytes arrive does not matter.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../judges/mod.rs"]
#[allow(dead_code)]
mod judges;

use judges::agree::{Reader, check_cuts, check_requests};

static READER: LazyLock<Reader> = LazyLock::new(Reader::new);

/// Requests read for one input; more cost time and find nothing new.
const MOST_REQUESTS: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    check_cuts(bytes, (0..bytes.len()).step_by(bytes.len() / 64 + 1));
    check_requests(&READER, bytes, MOST_REQUESTS);
});
