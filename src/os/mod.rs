//! The operating system: what it is asked for that no crate asks for safely (`raw`), how much it allows (`limits`), and
//! who has started us (`service_manager`).

pub mod limits;
pub mod raw;
pub mod service_manager;
