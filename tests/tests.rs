//! The tests that run the real binary, as its users do. Each module opens with the promise it pins.

mod support;

mod crowd;
mod faults;
mod front_door;
mod hostile;
mod listen;
mod readers;
mod readme;
mod say;
mod status;
mod stop;
mod tokens;
