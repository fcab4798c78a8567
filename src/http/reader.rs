//! tiny_http, which reads each request's head from our hand. A reader is one of tiny_http's connections whose socket was
//! taken over: it reads from one end of a pair of sockets, and we write to the other. So it never waits, and what a
//! client sends never reaches it as it is.
//!
//! A few readers serve all connections, because reading a head takes some microseconds and nobody waits meanwhile. They
//! are made of the first connections that are accepted. One that fails, or whose user panics, is not used again.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tiny_http::Request;

use crate::exchange::Refusal;

/// How many readers there are: as many as are likely to be in use at once, and more where one is interrupted.
const READERS: usize = 4;

/// How long to wait for a reader while all of them are in use.
const PATIENCE: Duration = Duration::from_secs(1);

/// One of tiny_http's connections, whose type has no public name; it says `None` where a request could not be read.
pub type Requests = Box<dyn Iterator<Item = Option<Request>> + Send>;

struct Reader {
    requests: Requests,
    /// What is written here is read by tiny_http.
    end: OwnedFd,
    /// Counts the readers there are.
    _one_of: Arc<()>,
}

/// The readers that nobody uses now. There are none at first.
pub struct Readers {
    /// Held by whoever gives a reader back. Never full: there are no more readers than places.
    give_back: Sender<Reader>,
    /// Held by whoever takes one.
    take: Receiver<Reader>,
    count: Arc<()>,
}

impl Default for Readers {
    fn default() -> Readers {
        let (give_back, take) = bounded(READERS);
        Readers { give_back, take, count: Arc::new(()) }
    }
}

impl Readers {
    /// Whether one more is wanted.
    pub fn are_few(&self) -> bool {
        Arc::strong_count(&self.count) <= READERS
    }

    /// Takes in a connection of tiny_http's that reads from the other end of `end`. Called by one thread at a time.
    pub fn add(&self, requests: Requests, end: OwnedFd) {
        let _ = self.give_back.try_send(Reader { requests, end, _one_of: self.count.clone() });
    }

    /// Has tiny_http read `head`, which the gate has written.
    ///
    /// # Errors
    /// 503 where no reader is there, 500 where tiny_http cannot read it; that should never be.
    pub fn read(&self, head: &[u8]) -> Result<Request, Refusal> {
        let nobody = |_| Refusal::new(503, "nobody can read the request now; connect once more and send it again");
        let mut reader = self.take.recv_timeout(PATIENCE).map_err(nobody)?;
        let given = rustix::io::write(&reader.end, head).is_ok_and(|length| length == head.len());
        let request = if given { reader.requests.next().flatten() } else { None };
        let request = request.ok_or_else(|| Refusal::new(500, "the request cannot be read; send it in another way"))?;
        let _ = self.give_back.try_send(reader);
        Ok(request)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::socket::{self, tests::accept};

    #[test]
    fn a_reader_reads_one_head_after_the_other_and_is_not_used_again_when_it_has_failed() {
        let readers = Readers::default();
        for number in 0..READERS {
            assert!(readers.are_few(), "{number}");
            let (_client, mut descriptors, mut found, connection) = accept();
            let (end, theirs) = socket::pair().unwrap();
            descriptors.take_over(&mut found, Some(&theirs)).unwrap();
            readers.add(Box::new(connection.unwrap()), end);
        }
        assert!(!readers.are_few());
        let mut kept = vec![];
        for path in ["/one", "/two", "/three", "/four", "/five", "/six"] {
            let request = readers.read(format!("GET {path} HTTP/1.1\r\nAccept: x\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(request.url(), path);
            kept.push(request.into_writer()); // one that is not answered yet holds up nobody
        }
        drop(kept); // or tiny_http would wait for them before it complains
        assert_eq!(readers.read(b"GET / HTTP/1.1\r\n").unwrap_err().status, 500);
        assert!(readers.are_few(), "one is gone");
    }
}
