//! Sockets, and waiting for them. Knows no HTTP.

pub mod socket;
pub mod watch;
