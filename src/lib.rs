#![doc = "placeholder"]
pub mod config;
#[cfg(not(loom))]
pub mod socket;
#[cfg(not(loom))]
pub mod pool;
#[cfg(not(loom))]
pub mod route;
#[cfg(not(loom))]
pub mod exchange;
#[cfg(not(loom))]
pub mod form;
#[cfg(not(loom))]
pub mod say;
pub mod message;
pub mod frame;
pub mod hub;
pub mod history;
pub mod letterbox;
#[cfg(not(loom))]
pub mod listen;
pub mod sync;
#[cfg(not(loom))]
pub mod journal;
