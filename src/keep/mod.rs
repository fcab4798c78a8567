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
