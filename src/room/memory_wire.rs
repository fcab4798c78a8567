//! A test double: a wire made of memory, and short messages to send along it.

use std::io;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use crate::room::frame::Letter;
use crate::room::message::Message;
use crate::room::wire::{Watcher, Wire};
use crate::sync::Arc;

/// A wire that takes a set number of bytes, then is full until somebody waits for it.
pub struct MemoryWire(StdMutex<Taken>);

#[derive(Default)]
struct Taken {
    bytes: Vec<u8>,
    room: usize,
    sends: usize,
    broken: bool,
    /// Reported once, as the kernel does; after that every send fails with `BrokenPipe`.
    last_words: Option<io::ErrorKind>,
}

#[cfg_attr(loom, allow(dead_code))] // the model check needs a part of it
impl MemoryWire {
    pub fn new(room: usize) -> std::sync::Arc<MemoryWire> {
        std::sync::Arc::new(MemoryWire(StdMutex::new(Taken { room, ..Taken::default() })))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
    }

    pub fn sends(&self) -> usize {
        self.0.lock().unwrap().sends
    }

    pub fn break_with(&self, last_words: io::ErrorKind) {
        let mut taken = self.0.lock().unwrap();
        (taken.broken, taken.last_words) = (true, Some(last_words));
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().unwrap().broken
    }
}

impl Wire for MemoryWire {
    fn watch(&self, _: Option<std::sync::Arc<dyn Watcher>>) {}

    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = self.0.lock().unwrap();
        if taken.broken {
            return Err(taken.last_words.take().unwrap_or(io::ErrorKind::BrokenPipe).into());
        }
        let length = bytes.len().min(taken.room);
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        taken.bytes.extend_from_slice(&bytes[..length]);
        taken.room -= length;
        taken.sends += 1;
        Ok(length)
    }

    fn wait_until_writable(&self, _: Duration) -> io::Result<()> {
        self.0.lock().unwrap().room = usize::MAX;
        Ok(())
    }

    fn failure(&self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&self) {
        self.0.lock().unwrap().broken = true;
    }
}

pub fn message(text: &str) -> Message {
    Message { event: "message".into(), message: text.to_owned(), ..Message::default() }
}

pub fn letter(text: &str) -> Arc<Letter> {
    Arc::new(Letter::new(std::sync::Arc::new(message(text))))
}
