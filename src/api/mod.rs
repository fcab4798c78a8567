//! Everything that a client can ask for, one file a thing. `route` finds the function that answers. A new endpoint is a
//! new file here, and a route to it in `route`.

pub mod listen;
pub mod now;
pub mod route;
pub mod said;
pub mod say;
pub mod service;
pub mod status;
