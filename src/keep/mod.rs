//! Storage that outlives the process: a file (`store`) or Redis (`relay`). `storage` knows which of them there are.

#[cfg(any(feature = "redis", feature = "store"))]
pub mod record;
#[cfg(feature = "redis")]
pub mod relay;
pub mod storage;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
pub mod wal;
