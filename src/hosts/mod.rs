//! Which hosts are alive: a `beat`, one `host`, what is `known` of all, those that change in a
//! `crowd`, and the `handlers` of requests about them.

pub mod beat;
mod crowd;
pub mod handlers;
pub mod host;
pub mod known;
#[cfg(test)]
mod story;
