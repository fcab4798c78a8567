//! HTTP/1.1 as it comes from the wire: which bytes are a request (`head`, `framing`), how the requests of one
//! connection come in (`gate`), what handlers read of them (`request`), and what a client would rather have (`accept`).
//! Knows nothing of what is said.

#[cfg(not(loom))]
pub mod accept;
#[cfg(not(loom))]
pub mod framing;
#[cfg(not(loom))]
pub mod gate;
#[cfg(not(loom))]
pub mod head;
#[cfg(not(loom))]
pub mod request;
