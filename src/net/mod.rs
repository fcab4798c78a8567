//! Sockets, and waiting for them. Knows no HTTP.

pub mod descriptors;
pub mod listening;
pub mod socket;
pub mod watch;
