//! Which hosts are alive: a `beat` of one, what is `known` of all, and the `handlers` of requests about them.

pub mod beat;
pub mod handlers;
pub mod known;
