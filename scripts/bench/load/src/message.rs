//! A message: `sSS NNNNNNNN-TTTTTTTTTTTTTTTTTTT-the-quick-brown-fox`, where SS is the speaker, N its
//! count and T the CLOCK_MONOTONIC nanosecond at which it was sent. Every part has a fixed width, so a
//! request is made once and only its digits are written anew, and a line is read without searching.

use crate::dialect::channel_path;
use crate::options::Options;

/// Two digits in the name.
pub const MAX_SPEAKERS: usize = 99;
const COUNT_DIGITS: usize = 8;
const STAMP_DIGITS: usize = 19;
/// Makes a line 54 bytes long with its end: about what people say in a chat.
const PADDING: &str = "the-quick-brown-fox";
/// "cNNNN" in the path.
const CHANNEL_DIGITS: usize = 4;

/// One line as a listener heard it.
#[derive(Debug, PartialEq)]
pub struct Heard {
    pub speaker: usize,
    pub count: u32,
    pub stamp: u64,
}

/// Reads one line without its end; what is not a message (a heartbeat, a notice) is none.
pub fn parse(line: &[u8]) -> Option<Heard> {
    if line.len() < 4 + COUNT_DIGITS + 1 + STAMP_DIGITS || line[0] != b's' || line[3] != b' ' {
        return None;
    }
    let (count, rest) = line[4..].split_at(COUNT_DIGITS);
    Some(Heard {
        speaker: digits(&line[1..3])? as usize,
        count: digits(count)? as u32,
        stamp: digits(&rest[1..1 + STAMP_DIGITS])?,
    })
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |value, byte| {
        byte.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
    })
}

/// A speaker's `/say` request, ready but for its channel, count and stamp.
pub struct Request {
    bytes: Vec<u8>,
    count_at: usize,
    /// The place of the digits of the channel, if there are several.
    channel_at: Option<usize>,
}

impl Request {
    pub fn new(options: &Options, speaker: usize) -> Request {
        let mut message = format!("{}-{}-{PADDING}", "0".repeat(COUNT_DIGITS), "0".repeat(STAMP_DIGITS));
        message.extend(PADDING.chars().cycle().take(options.bytes.saturating_sub(message.len())));
        let path = channel_path(0, options.channels);
        let bytes = options.dialect.say_request(&path, &format!("s{speaker:02}"), &message).into_bytes();
        let count_at = bytes.len() - message.len();
        let channel_at = (!path.is_empty()).then_some("POST /say/c".len());
        Request { bytes, count_at, channel_at }
    }

    /// The request for this channel, count and stamp.
    pub fn fill(&mut self, channel: usize, count: u32, stamp: u64) -> &[u8] {
        if let Some(at) = self.channel_at {
            write_digits(&mut self.bytes[at..at + CHANNEL_DIGITS], channel as u64);
        }
        let (count_digits, rest) = self.bytes[self.count_at..].split_at_mut(COUNT_DIGITS);
        write_digits(count_digits, u64::from(count));
        write_digits(&mut rest[1..1 + STAMP_DIGITS], stamp);
        &self.bytes
    }
}

fn write_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_heard_again() {
        let options = ["join", "--port", "1", "--pid", "1", "--dialect", "nchan", "--channels", "1000"];
        let options = Options::parse(options.map(str::to_owned).into_iter()).unwrap();
        let mut request = Request::new(&options, 7);
        let bytes = request.fill(123, 42, 123_456_789_012).to_vec();
        assert!(bytes.starts_with(b"POST /say/c0123 HTTP/1.1"));
        let line = &bytes[bytes.len() - 52..];
        assert_eq!(parse(line), Some(Heard { speaker: 7, count: 42, stamp: 123_456_789_012 }));
    }

    #[test]
    fn a_heartbeat_is_no_message() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"s01 was here for a while and said nothing"), None);
    }
}
