//! The race on the list, the right way: to look and to act under one lock. Every message is said before both or after
//! both, so it is in the one or comes by the other, and never in both.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, TryLockError};
use std::thread;

#[derive(Default)]
struct Room {
    listeners: Vec<Sender<u64>>,
    said: Vec<u64>,
}

/// Says one message: keeps it, and sends it to all. `must_wait` is called when somebody else holds the lock.
fn say(room: &Mutex<Room>, message: u64, must_wait: impl FnOnce()) {
    let mut room = match room.try_lock() {
        Err(TryLockError::WouldBlock) => {
            must_wait();
            room.lock().unwrap()
        }
        taken => taken.unwrap(),
    };
    room.said.push(message);
    room.listeners.retain(|listener| listener.send(message).is_ok());
}

/// Begins to listen: what was said so far, and a receiver of what will be. `worst_moment` is called in between.
fn join(room: &Mutex<Room>, worst_moment: impl FnOnce()) -> (Vec<u64>, Receiver<u64>) {
    let (listener, hears) = channel();
    let mut room = room.lock().unwrap(); // right: held to the end
    let said = room.said.clone();
    worst_moment();
    room.listeners.push(listener);
    (said, hears)
}

fn main() -> ExitCode {
    let room = Mutex::new(Room::default());
    say(&room, 1, || ());
    let (signal, signals) = channel();
    let (mut heard, hears) = thread::scope(|scope| {
        let room = &room;
        join(room, || {
            scope.spawn(move || say(room, 2, || signal.send(()).unwrap()));
            signals.recv().unwrap(); // its speaker has found the lock taken
        })
    });
    say(&room, 3, || ());
    drop(room);
    heard.extend(hears.iter());
    if heard == [1, 2, 3] {
        println!("1, 2 and 3 were said, and {heard:?} was heard");
        return ExitCode::SUCCESS;
    }
    eprintln!("1, 2 and 3 were said, and {heard:?} was heard");
    ExitCode::FAILURE
}
