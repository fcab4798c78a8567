//! What must hold for every input. Each judge panics where it does not. The fuzzers try them with bytes that libFuzzer
//! makes, `tests/properties.rs` with pieces of the grammar.

pub mod agree;
pub mod formats;
pub mod forms;
