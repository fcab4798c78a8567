//! The heart: listeners, and messages new and old.

pub mod forgotten;
