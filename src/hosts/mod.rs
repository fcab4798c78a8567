//! Which hosts are alive: a `beat`, one `host`, what is `known` of all, and the `handlers` of requests about them.

pub mod beat;
pub mod handlers;
pub mod host;
pub mod known;
