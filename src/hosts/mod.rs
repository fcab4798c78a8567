//! The hosts that beat, and which of them are alive: a `beat`, one `host`, all that are `known`, those that change in a
//! `crowd`, and the `handlers` of requests about them.

pub mod beat;
mod crowd;
pub mod handlers;
pub mod host;
pub mod known;
#[cfg(test)]
mod story;
