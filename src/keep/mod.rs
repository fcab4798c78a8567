//! Storage that outlives the process: a file (`store`) or Redis (`relay`). `storage` opens the one that is configured.

#[cfg(feature = "redis")]
pub mod relay;
#[cfg(feature = "store")]
mod rows;
pub mod storage;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
mod store_error;

/// A change in how this server hears the others with which it shares a storage.
pub enum Hearing {
    /// They cannot be heard.
    Cut,
    /// They can be heard again.
    Back,
    /// Messages were missed, and the hub has taken in the newest word on each thing instead.
    Renewed,
}
