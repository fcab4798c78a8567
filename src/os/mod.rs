//! Calls of the operating system for which there is no safe crate.

pub mod raw;
