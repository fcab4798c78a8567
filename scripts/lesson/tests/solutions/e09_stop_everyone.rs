//! The solution of exercise 9.

use std::convert::Infallible;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

pub struct Pool {
    running: Sender<Infallible>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts threads. Each does `work`, which returns when the receiver it is given is disconnected.
    pub fn start(threads: usize, work: fn(Receiver<Infallible>)) -> Pool {
        let (running, stopped) = bounded(0);
        let start = |_| {
            let stopped = stopped.clone();
            thread::spawn(move || work(stopped))
        };
        let threads = (0..threads).map(start).collect();
        Pool { running, threads }
    }

    /// Returns when all threads have ended. Returns how many they were.
    pub fn stop(self) -> usize {
        drop(self.running); // first tell them, then wait
        self.threads.into_iter().filter_map(|thread| thread.join().ok()).count()
    }
}
