//! The tests that run the real binary, as its users do. Each module opens with the promise it pins.

mod support;

mod crowd;
mod dashboard;
mod faults;
mod front_door;
mod hosts;
mod listen;
mod readers;
mod readme;
mod say;
mod stop;
