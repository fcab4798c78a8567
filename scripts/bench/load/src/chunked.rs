//! A stream's body framing, taken off without copying: chunked, or nothing but the end of the connection.

/// How the body of a stream is framed, and where in the frame the last read ended.
pub enum Framing {
    UntilClose,
    Chunked(Position),
}

/// The place of the next byte in the chunked coding.
#[derive(Clone, Copy)]
pub enum Position {
    /// In the hexadecimal size, of which this much is read.
    Size(usize),
    /// Behind the size, before the line's end.
    Extension(usize),
    /// In the data, of which so many bytes are left.
    Data(usize),
    /// In the line end behind the data.
    DataEnd,
    /// Behind the last chunk: the stream ended as it should.
    Ended,
}

impl Framing {
    /// Hands the payload in `bytes` to `take`, piece by piece. True when the last chunk has come.
    pub fn decode(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<bool, String> {
        match self {
            Framing::UntilClose => {
                take(bytes);
                Ok(false)
            }
            Framing::Chunked(position) => decode_chunks(position, bytes, take),
        }
    }
}

fn decode_chunks(position: &mut Position, mut bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<bool, String> {
    while let Some(&first) = bytes.first() {
        let mut used = 1;
        *position = match *position {
            Position::Size(size) => match (first as char).to_digit(16) {
                Some(digit) if size < usize::MAX >> 8 => Position::Size(size * 16 + digit as usize),
                None if first == b'\n' => after_size(size),
                None if first == b'\r' || first == b';' => Position::Extension(size),
                _ => return Err(format!("byte {first:#04x} in a chunk size")),
            },
            Position::Extension(size) if first == b'\n' => after_size(size),
            Position::Extension(size) => Position::Extension(size),
            Position::Data(left) => {
                used = left.min(bytes.len());
                take(&bytes[..used]);
                match left - used {
                    0 => Position::DataEnd,
                    more => Position::Data(more),
                }
            }
            Position::DataEnd if first == b'\n' => Position::Size(0),
            Position::DataEnd => Position::DataEnd,
            Position::Ended => return Ok(true),
        };
        bytes = &bytes[used..];
    }
    Ok(matches!(position, Position::Ended))
}

fn after_size(size: usize) -> Position {
    match size {
        0 => Position::Ended,
        _ => Position::Data(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_payload() {
        let stream = b"5\r\nhello\r\n1;x=y\r\n \r\nC\r\nworld, all\r\n\r\n0\r\n\r\n";
        for cut in 0..stream.len() {
            let mut framing = Framing::Chunked(Position::Size(0));
            let mut payload = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                framing.decode(part, |piece| payload.extend_from_slice(piece)).unwrap();
            }
            assert_eq!(payload, b"hello world, all\r\n", "cut at {cut}");
        }
    }
}
