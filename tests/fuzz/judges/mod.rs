//! The rules for every input. A judge panics if its rule is broken. The fuzzers try them with bytes that libFuzzer
//! makes, `tests/properties.rs` with pieces of the grammar.

pub mod agree;
pub mod formats;
pub mod forms;
