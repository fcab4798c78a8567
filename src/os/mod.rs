//! What the operating system is asked for that no crate asks for safely.

pub mod raw;
