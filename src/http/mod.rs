//! Requests and answers: which bytes are a request (`head`, `framing`), how the requests of one connection come in
//! (`gate`), what handlers read of them (`request`) and answer (`exchange`), and what stands in them (`accept`, `auth`,
//! `form`, `listen_query`). Chunks that come are read in `framing`; chunks that go out are framed in `room/frame.rs`.
//! Knows nothing of who listens.

pub mod accept;
pub mod answer;
pub mod auth;
pub mod exchange;
pub mod form;
pub mod framing;
pub mod gate;
pub mod head;
pub mod listen_query;
pub mod refusal;
pub mod request;

pub use answer::{Answer, TEXT};
pub use exchange::{After, Exchange};
pub use listen_query::Ask;
pub use refusal::Refusal;
pub use request::Request;
