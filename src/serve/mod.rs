//! Threads that wait and serve: a `pool` of them, and the places where their `connections` wait.

pub mod connections;
pub mod pool;
