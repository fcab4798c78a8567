//! Threads that wait and serve. `pool` starts and stops them, `threads` is the life of one, `newcomers` accepts
//! connections, `conversation` answers requests, and `keeper` does the rest. In `connections` a connection waits, and
//! `server` is the state that all of them share.

pub mod connections;
pub mod conversation;
pub mod keeper;
pub mod newcomers;
pub mod pool;
pub mod server;
pub mod threads;
