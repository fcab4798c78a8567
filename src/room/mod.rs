//! The heart: who listens, what is said, and what was said.

pub mod forgotten;
