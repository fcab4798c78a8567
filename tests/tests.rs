//! The tests that run the real binary, as its users do. Each module opens with the promise it pins.

mod now;
mod support;

mod browser;
mod caches;
mod crowd;
mod dashboard;
mod faults;
mod front_door;
mod hear;
mod hooks;
mod hostile;
mod hosts;
mod layers;
mod lesson;
mod listen;
mod log;
mod machine;
mod manual;
mod neighbour;
#[cfg(feature = "store")]
mod power;
mod proxy;
mod readers;
#[cfg(all(feature = "store", feature = "redis"))] // it shows every flag
mod readme;
mod recipes;
#[cfg(feature = "redis")]
mod relay;
#[cfg(feature = "redis")]
mod relay_edges;
mod requests;
mod resume;
mod say;
mod senders;
mod service;
mod siege;
mod small;
#[cfg(feature = "store")]
mod stalled;
mod status;
mod stop;
#[cfg(feature = "store")]
mod store;
mod tokens;
mod upgrade;
mod version;
mod words;
