//! Lost order, the right way: number and sending are one thing, under one lock. It is short, because sending to a queue
//! waits for nobody. The second speaker has to wait for the first, and everyone hears the same.

use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, TryLockError};
use std::thread;

/// Everyone who listens, and the last number given.
struct Room {
    listeners: Vec<Sender<u64>>,
    last: u64,
}

/// Says one message. `worst_moment` is called when it has reached the first listener and not yet the second; `must_wait`
/// when somebody else holds the lock.
fn say(room: &Mutex<Room>, must_wait: impl FnOnce(), worst_moment: impl FnOnce()) {
    let mut room = match room.try_lock() {
        Err(TryLockError::WouldBlock) => {
            must_wait();
            room.lock().unwrap()
        }
        taken => taken.unwrap(),
    };
    room.last += 1;
    room.listeners[0].send(room.last).unwrap();
    worst_moment();
    room.listeners[1].send(room.last).unwrap();
} // right: only here is the lock given back

fn main() -> ExitCode {
    let ((ann, ann_hears), (bob, bob_hears)) = (channel(), channel());
    let room = Mutex::new(Room { listeners: vec![ann, bob], last: 0 });
    let (signal, signals) = channel();
    thread::scope(|scope| {
        let room = &room;
        say(
            room,
            || (),
            || {
                scope.spawn(move || say(room, || signal.send(()).unwrap(), || ()));
                signals.recv().unwrap(); // the second speaker has found the lock taken
            },
        );
    });
    drop(room);
    let (ann, bob): (Vec<_>, Vec<_>) = (ann_hears.iter().collect(), bob_hears.iter().collect());
    if ann == bob {
        println!("both hear {ann:?}");
        return ExitCode::SUCCESS;
    }
    eprintln!("one hears {ann:?}, the other {bob:?}");
    ExitCode::FAILURE
}
