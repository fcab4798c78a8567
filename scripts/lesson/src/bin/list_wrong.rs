//! The race on the list, the wrong way. Rust does not let two threads change a list at once without a lock. It does let
//! them take the lock twice: once to look and once to act. A message that is said in between is neither in the
//! newcomer's list nor sent to it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

#[derive(Default)]
struct Room {
    listeners: Vec<Sender<u64>>,
    said: Vec<u64>,
}

/// Says one message: keeps it, and sends it to all.
fn say(room: &Mutex<Room>, message: u64) {
    let mut room = room.lock().unwrap();
    room.said.push(message);
    room.listeners.retain(|listener| listener.send(message).is_ok());
}

/// Begins to listen: what was said so far, and a receiver of what will be. `worst_moment` is called in between.
fn join(room: &Mutex<Room>, worst_moment: impl FnOnce()) -> (Vec<u64>, Receiver<u64>) {
    let (listener, hears) = channel();
    let said = room.lock().unwrap().said.clone(); // wrong: the lock is given back at the end of this line
    worst_moment();
    room.lock().unwrap().listeners.push(listener);
    (said, hears)
}

fn main() -> ExitCode {
    let room = Mutex::new(Room::default());
    say(&room, 1);
    let (signal, signals) = channel();
    let (mut heard, hears) = thread::scope(|scope| {
        let room = &room;
        join(room, || {
            scope.spawn(move || {
                say(room, 2);
                signal.send(()).unwrap();
            });
            signals.recv().unwrap(); // it was said
        })
    });
    say(&room, 3);
    drop(room);
    heard.extend(hears.iter());
    if heard == [1, 2, 3] {
        return ExitCode::SUCCESS;
    }
    eprintln!("1, 2 and 3 were said, and {heard:?} was heard");
    ExitCode::FAILURE
}
