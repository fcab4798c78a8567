//! Exercise 7. A client sends a line without an end, and the server keeps it all. Take `MOST` bytes of a head at the most,
//! its line ends included, and refuse what is longer.

use std::io::{BufRead, Error, ErrorKind, Result};

/// The most bytes of a head.
pub const MOST: u64 = 1024;

/// Reads the head of a request: its lines, up to an empty one.
///
/// # Errors
/// `InvalidData` if it is too long, `UnexpectedEof` if it is cut off.
pub fn read_head(mut client: impl BufRead) -> Result<Vec<String>> {
    let mut lines = vec![];
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else { return Err(Error::from(ErrorKind::UnexpectedEof)) };
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_owned());
    }
}
