//! The connection of a listener, as the heart sees it: something that takes bytes, may be full, and may fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a socket may take nothing at all before its listener is given up. The listener's own thread applies it
/// while it waits for the socket; the kernel applies it while sent data stays unacknowledged (`TCP_USER_TIMEOUT`,
/// tcp(7)). It is less than the heartbeat, so that a machine that vanished in silence is missed at the second one.
pub const STALL_LIMIT: Duration = Duration::from_secs(12);

/// The sending side of a connection, as the pen sees it: a socket, or a stand-in in tests.
pub trait Wire: Send + Sync {
    /// Sends as many of `bytes` as the socket takes at once and returns their number.
    ///
    /// # Errors
    /// `WouldBlock` if the socket takes nothing now; anything else means that the connection is over.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until the socket takes something again. Only the listener's own thread calls it.
    ///
    /// # Errors
    /// `TimedOut` if it takes nothing within `limit`; anything else means that the connection is over.
    fn wait_until_writable(&self, limit: Duration) -> io::Result<()>;

    /// Asks why the connection has failed, if it has. The kernel says it once.
    ///
    /// # Errors
    /// The failure.
    fn failure(&self) -> io::Result<()>;

    /// Ends the connection. Any thread may call it: a wait for the socket ends, and sends fail.
    fn cut(&self);

    /// Tells `watcher` when the peer leaves, at once if it has left already; `None` ends that.
    fn watch(&self, watcher: Option<Arc<dyn Watcher>>);
}

/// A receiver of the news that the peer has left.
pub trait Watcher: Send + Sync {
    /// The peer has closed its sending side, or the connection. Any thread may call it; it must not wait.
    fn peer_left(&self);
}
