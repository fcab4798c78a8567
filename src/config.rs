//! The settings of a user. `flags.rs` reads them.

use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use crate::origin::Origins;
use crate::proxies::Proxies;
use crate::secret::Secret;
use crate::tokens::Tokens;

/// The longest URL taken, in bytes. Longer texts belong in a body.
pub const URL_LIMIT: usize = 8 * 1024;

/// The most `fields` one message carries.
pub const FIELDS_LIMIT: usize = 32;

/// The most listeners, unless told otherwise and if the open-file limit allows.
pub const MOST_LISTENERS: usize = 10_000;

/// The most connections from one address, unless told otherwise. This machine's own may have half of all then: a proxy
/// on it speaks for everyone.
pub const MOST_FROM_ONE_ADDRESS: usize = 1000;

/// The longest time that stopping takes. After that the process ends, even if work is still under way.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// All settings of a user. They have no `Debug`, so that no log can show a secret.
#[derive(Clone)]
pub struct Config {
    /// The address to listen at.
    pub bind: Bind,
    /// The permissions of a socket file.
    pub socket_mode: u32,
    /// The most listeners at once; `None`: [`MOST_LISTENERS`], or the number that the open-file limit allows if less.
    pub max_listeners: Option<usize>,
    /// The most connections from one address, and never more than half of all; `None`: [`MOST_FROM_ONE_ADDRESS`], and
    /// from this machine half of all.
    pub max_per_address: Option<usize>,
    /// The proxies that are believed when they say whom a connection is for.
    pub trust_proxy: Proxies,
    /// Messages that may wait for one listener.
    pub queue: usize,
    /// Messages kept for replay.
    pub history: usize,
    /// The most bytes that the messages kept for replay may weigh together.
    pub history_bytes: usize,
    /// The most things of which the newest word is kept.
    pub things: usize,
    /// The file that keeps messages; `None`: only memory does.
    pub store: Option<PathBuf>,
    /// The URL of the Redis by which this server shares messages with others; `None`: it shares none.
    pub redis: Option<String>,
    /// The silence after which a listener gets a sign of life.
    pub heartbeat: Duration,
    /// The silence between requests after which a connection is closed.
    pub idle: Duration,
    /// The largest body `/say` takes, in bytes.
    pub max_body: usize,
    /// The token to say something; `None`: nobody needs one.
    pub say_token: Option<Secret>,
    /// The token to hear or see messages; `None`: nobody needs one.
    pub listen_token: Option<Secret>,
    /// The file of tokens for either; `None`: there is none.
    pub tokens: Option<Arc<Tokens>>,
    /// The secrets of which webhooks have to prove one; none: they prove nothing.
    pub hook_secrets: Vec<Secret>,
    /// The origins whose pages may use the server.
    pub allow_origin: Origins,
    /// The level of the log.
    pub log: LevelFilter,
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// `:PORT`: every interface, IPv6 and IPv4.
    EveryInterface(u16),
    /// `HOST:PORT`: one address. If HOST is a name, the first of its addresses that can be bound.
    Address(String),
    /// `unix:PATH`: a socket file.
    Unix(PathBuf),
    /// A socket at which the service manager that started us already listens (sd_listen_fds(3)).
    HandedOver,
}

impl Display for Bind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Bind::EveryInterface(port) => write!(formatter, ":{port}"),
            Bind::Address(text) => formatter.write_str(text),
            Bind::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Bind::HandedOver => formatter.write_str("the socket that was handed over"),
        }
    }
}
