//! The heart: who listens, what is said and what was said, behind one lock (`hub`). No I/O happens under it.

pub mod commit_queue;
pub mod forgotten;
pub mod frame;
pub mod history;
pub mod hub;
pub mod letterbox;
pub mod message;
