//! The primitives of the hand-over (letterbox, bell, pen, hub), under one name each, so that the model check can put
//! its own in their place. Built with `--cfg loom`, the unchanged `room/letterbox.rs` and `room/hub.rs` run under
//! [loom](https://docs.rs/loom), which tries every order in which threads can meet.

#[cfg(not(loom))]
pub use {
    crossbeam_channel::{Receiver, Sender, bounded, unbounded},
    std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence},
    std::sync::{Arc, Mutex, MutexGuard},
};

#[cfg(loom)]
pub use {
    self::model::{Mutex, MutexGuard, Receiver, Sender, bounded, unbounded},
    loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence},
    std::sync::Arc,
};

use std::sync::TryLockError;

/// Takes `mutex`, waiting for it. A thread that panicked while it held the mutex broke its own conversation, not the
/// guarded data: every change under our locks is whole before anything can panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Takes `mutex` if nobody holds it.
pub fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Sleeps until something is sent to `bell`, at most for `limit`, and takes it. True if something was sent.
///
/// `recv_timeout` and `Select::ready_timeout` spin and yield before they park. Among a thousand sleepers that costs as
/// much as the delivery. `Select::select_timeout` parks at once.
#[cfg(not(loom))]
pub fn sleep_until_rung(bell: &Receiver<()>, limit: std::time::Duration) -> bool {
    let mut select = crossbeam_channel::Select::new();
    select.recv(bell);
    select.select_timeout(limit).is_ok_and(|rung| rung.recv(bell).is_ok())
}

/// Stand-ins for types that loom lacks: the part of crossbeam-channel that the hand-over uses, and a mutex between
/// whose last use and release another thread can step in. Neither orders more than it has to, so that a missing fence
/// is noticed.
#[cfg(loom)]
#[allow(missing_docs)]
mod model {
    use std::collections::VecDeque;
    use std::ops::{Deref, DerefMut};
    use std::sync::{Arc, LockResult, TryLockResult};

    use crossbeam_channel::{SendError, TryRecvError, TrySendError};
    use loom::sync::atomic::{AtomicUsize, Ordering};

    /// A mutex whose release lets another thread step in. loom switches threads before an operation, but the release of
    /// its own mutex is none. The relaxed counter is one: it makes "found taken just before the release" a way for
    /// threads to meet, and orders nothing.
    pub struct Mutex<T> {
        inner: loom::sync::Mutex<T>,
        uses: AtomicUsize,
    }

    pub struct MutexGuard<'a, T> {
        inner: loom::sync::MutexGuard<'a, T>,
        uses: &'a AtomicUsize,
    }

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex { inner: loom::sync::Mutex::new(value), uses: AtomicUsize::new(0) }
        }

        pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            Ok(MutexGuard { inner: self.inner.lock().unwrap(), uses: &self.uses })
        }

        pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
            self.uses.load(Ordering::Relaxed);
            match self.inner.try_lock() {
                Ok(inner) => Ok(MutexGuard { inner, uses: &self.uses }),
                Err(_) => Err(std::sync::TryLockError::WouldBlock),
            }
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            self.uses.store(0, Ordering::Relaxed);
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.inner
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.inner
        }
    }

    struct Channel<T> {
        queue: loom::sync::Mutex<VecDeque<T>>,
        receivers: AtomicUsize,
        capacity: usize,
    }

    #[derive(Clone)]
    pub struct Sender<T>(Arc<Channel<T>>);
    pub struct Receiver<T>(Arc<Channel<T>>);

    pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let channel = Arc::new(Channel {
            queue: loom::sync::Mutex::new(VecDeque::new()),
            receivers: AtomicUsize::new(1),
            capacity,
        });
        (Sender(channel.clone()), Receiver(channel))
    }

    pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        bounded(usize::MAX)
    }

    impl<T> Sender<T> {
        pub fn is_empty(&self) -> bool {
            self.0.queue.lock().unwrap().is_empty()
        }

        pub fn send(&self, value: T) -> Result<(), SendError<T>> {
            self.try_send(value).map_err(|refused| SendError(refused.into_inner()))
        }

        pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
            let mut queue = self.0.queue.lock().unwrap();
            if self.0.receivers.load(Ordering::Acquire) == 0 {
                return Err(TrySendError::Disconnected(value));
            }
            if queue.len() >= self.0.capacity {
                return Err(TrySendError::Full(value));
            }
            queue.push_back(value);
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub fn try_recv(&self) -> Result<T, TryRecvError> {
            self.0.queue.lock().unwrap().pop_front().ok_or(TryRecvError::Empty)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.0.receivers.fetch_sub(1, Ordering::Release);
        }
    }
}
