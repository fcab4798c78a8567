//! The storage behind the history that the user has chosen: memory alone, a store, or Redis. Only this module knows
//! which kinds there are. If neither is built in, there is memory alone.

use std::sync::Arc;

use crate::config::Config;
use crate::keep::Hearing;
use crate::room::{Hub, Message, commit_queue::CommitQueue, replay::Restored};

/// A thread that the storage needs: its name, and its life, which ends when the hub is closed. The life calls the
/// function that it is given with each change in how the other servers are heard.
pub type Work = (&'static str, Box<dyn FnOnce(&Hub, &dyn Fn(Hearing)) + Send>);

/// A storage that was opened.
pub struct Storage {
    /// The messages that it has kept.
    pub past: Restored,
    /// The commit queue in front of it; `None` for memory alone.
    pub commit_queue: Option<CommitQueue>,
    /// The threads that it needs.
    pub threads: Vec<Work>,
    /// Those of the kept messages that [`Hosts`](crate::hosts::known::Hosts) has still to follow. Only Redis has such
    /// messages: hosts beat at other servers too.
    pub before: Vec<Arc<Message>>,
}

/// Opens the storage that `config` names, and reads what it has kept. If it names none, only memory keeps messages.
///
/// # Errors
/// One line for the user: what is wrong, and what to do.
pub fn open(config: &Config) -> Result<Storage, String> {
    #[cfg(feature = "store")]
    if let Some(file) = &config.store {
        let (store, past) = crate::keep::store::Store::open(file)?;
        log::info!("Keeping what is said in {} (messages so far: {})", file.display(), past.messages.len());
        let (commit_queue, committer) = CommitQueue::new("store");
        let committer: Work = ("committer", Box::new(|hub, _| crate::keep::store::serve(store, committer, hub)));
        return Ok(Storage { past, commit_queue: Some(commit_queue), threads: vec![committer], before: vec![] });
    }
    #[cfg(feature = "redis")]
    if let Some(url) = &config.redis {
        let (relay, past) = crate::keep::relay::Relay::open(url, config.history, config.things)?;
        let (commit_queue, committer) = CommitQueue::new("redis");
        let (before, of_reader) = (past.messages.clone(), relay.clone());
        let committer: Work = ("committer", Box::new(move |hub, _| relay.send_all(committer, hub)));
        let reader: Work = ("reader", Box::new(move |hub, tell| of_reader.read_all(hub, tell)));
        return Ok(Storage { past, commit_queue: Some(commit_queue), threads: vec![committer, reader], before });
    }
    let _ = config;
    Ok(Storage { past: Restored::nothing(), commit_queue: None, threads: vec![], before: vec![] })
}
