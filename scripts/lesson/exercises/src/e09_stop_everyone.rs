//! Exercise 9. `stop` tells all threads to end and waits until they have. It waits for ever. The end is told by a
//! disconnection: nothing is ever sent, and the receivers find out when the last sender is dropped.

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
            let (alive, stopped) = (running.clone(), stopped.clone());
            thread::spawn(move || {
                let _alive = alive;
                work(stopped);
            })
        };
        let threads = (0..threads).map(start).collect();
        Pool { running, threads }
    }

    /// Returns when all threads have ended. Returns how many they were.
    pub fn stop(self) -> usize {
        let ended = self.threads.into_iter().filter_map(|thread| thread.join().ok()).count();
        drop(self.running);
        ended
    }
}
