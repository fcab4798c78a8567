//! Exercise 8. A client has `LIMIT` to send its line. One that sends a byte now and then holds a thread for an hour. The
//! clock is the client's to move, so the test takes no time.

use std::time::Duration;

/// How long the whole line may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A connection.
pub trait Client {
    /// The time since the connection was made.
    fn now(&self) -> Duration;
    /// Waits for the next byte; `None` if there is none within `limit`.
    fn read(&mut self, limit: Duration) -> Option<u8>;
}

/// Reads a line up to its `\n`; `None` if it takes longer than `LIMIT`.
pub fn read_line(client: &mut impl Client) -> Option<Vec<u8>> {
    let mut line = vec![];
    loop {
        match client.read(LIMIT)? {
            b'\n' => return Some(line),
            byte => line.push(byte),
        }
    }
}
