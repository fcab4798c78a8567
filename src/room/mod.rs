//! The heart: who listens, what is said and what was said, behind one lock (`hub`). No I/O happens under it.
//!
//! A `message` is kept in the `history` and put into the `letterbox` of each listener that wants it (`subscription`).
//! `carriers` send what lies there, as bytes that `frame` makes. A listener that is too slow is found out in
//! `letterbox` and hung up on in `listener`.

pub mod ahead;
pub mod carriers;
pub mod commit_queue;
pub mod forgotten;
pub mod frame;
pub mod history;
pub mod hub;
pub mod letterbox;
#[cfg(not(loom))]
pub mod listener;
#[cfg(test)]
pub(crate) mod memory_wire;
pub mod message;
#[cfg(all(test, loom))]
mod model;
pub mod replay;
pub mod standing;
pub mod subscription;
pub mod things;
pub mod wire;

pub use frame::Format;
pub use hub::Hub;
pub use message::{Digest, Message, Receipt, Refused};
pub use replay::Since;
pub use subscription::{Events, Subscription};
pub use things::Thing;
pub use wire::Wire;
