//! The operating system: what it is asked for that no crate asks for safely (`raw`), how much it allows (`limits`), and
//! who has started us (`service_manager`).

#[cfg(not(loom))]
pub mod limits;
pub mod raw;
#[cfg(not(loom))]
pub mod service_manager;
