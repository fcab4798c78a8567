//! Which hosts are alive: what is `known` of them, and the `handlers` of requests about them.

pub mod handlers;
pub mod known;
