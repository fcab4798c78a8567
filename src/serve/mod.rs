//! Threads that wait and serve. `pool` starts and stops them, `threads` is the life of one, `newcomers` accepts,
//! `conversation` answers, `keeper` sees to the rest, `connections` is where a connection waits, and `server` is what
//! they share.

pub mod connections;
pub mod conversation;
pub mod keeper;
pub mod newcomers;
pub mod pool;
pub mod server;
pub mod threads;
