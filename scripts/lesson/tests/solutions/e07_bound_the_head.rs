//! The solution of exercise 7.

use std::io::{BufRead, Error, ErrorKind, Result};

/// The most bytes of a head.
pub const MOST: u64 = 1024;

/// Reads the head of a request: its lines, up to an empty one.
///
/// # Errors
/// `InvalidData` if it is too long, `UnexpectedEof` if it is cut off.
pub fn read_head(client: impl BufRead) -> Result<Vec<String>> {
    let mut client = client.take(MOST); // of all lines together
    let mut lines = vec![];
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else {
            let is_too_long = client.limit() == 0;
            return Err(Error::from(if is_too_long { ErrorKind::InvalidData } else { ErrorKind::UnexpectedEof }));
        };
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_owned());
    }
}
