//! HTTP/1.1 as it comes from the wire. `head` and `framing` decide which bytes are a request, `gate` reads the requests
//! of one connection, `request` is a request as handlers read it, and `accept` finds the type that a client likes best.
//! Knows nothing of messages.

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
