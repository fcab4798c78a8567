//! The tests that run the real binary, as its users do. Each module opens with the promise it pins.

mod support;

mod crowd;
mod faults;
mod front_door;
mod hooks;
mod listen;
mod readers;
mod readme;
mod say;
mod stop;
