//! The storage behind the history that the user has chosen: memory alone, a store, or Redis. Only this module knows
//! which kinds there are. If neither is built in, there is memory alone.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::room::hub::{Hub, Limits};
use crate::room::message::Message;

/// The opened storage behind the history.
pub enum Storage {
    /// A file, and the messages that it has kept.
    #[cfg(feature = "store")]
    Store(crate::keep::store::Store, crate::room::replay::Restored),
    /// A Redis, and the messages that it has kept.
    #[cfg(feature = "redis")]
    Redis(Arc<crate::keep::relay::Relay>, crate::room::replay::Restored),
}

/// A thread that the storage needs: its name, and its life, which ends when the hub is closed. The life calls the
/// function that it is given when other servers can be heard again after a break.
pub type Work = (&'static str, Box<dyn FnOnce(&Hub, &dyn Fn()) + Send>);

/// A hub, the receiver on which its keeper is called, the threads that the storage needs, and the earlier messages that
/// [`Hosts`](crate::hosts::known::Hosts) has still to follow. Only Redis has such messages: hosts beat at other servers
/// too.
pub type OpenHub = (Hub, Receiver<()>, Vec<Work>, Vec<Arc<Message>>);

impl Storage {
    /// Opens the storage that `config` names; `None` if it names none.
    ///
    /// # Errors
    /// One line for the user: what is wrong, and what to do.
    pub fn open(config: &Config) -> Result<Option<Storage>, String> {
        #[cfg(feature = "store")]
        if let (Some(file), None) = (&config.store, &config.redis) {
            let (store, past) = crate::keep::store::Store::open(file)?;
            log::info!("Keeping what is said in {} (messages so far: {})", file.display(), past.messages.len());
            return Ok(Some(Storage::Store(store, past)));
        }
        #[cfg(feature = "redis")]
        if let Some(url) = &config.redis {
            if config.store.is_some() {
                return Err("--store and --redis both keep what is said; give one of them".to_owned());
            }
            let (relay, past) = crate::keep::relay::Relay::open(&url.0, config.history, config.things)?;
            log::info!("Sharing what is said by Redis at {}", relay.name());
            return Ok(Some(Storage::Redis(relay, past)));
        }
        let _ = config;
        Ok(None)
    }
}

/// Makes a hub with `backing` behind it; with `None`, only memory keeps the messages.
pub fn open_hub(limits: Limits, storage: Option<Storage>) -> OpenHub {
    match storage {
        None => {
            let (hub, called) = Hub::new(limits);
            (hub, called, vec![], vec![])
        }
        #[cfg(feature = "store")]
        Some(Storage::Store(store, past)) => {
            let (commit_queue, committer) = crate::room::commit_queue::CommitQueue::new("store");
            let (hub, called) = Hub::resume(limits, past, Some(commit_queue));
            let committer: Work =
                ("committer", Box::new(move |hub, _| crate::keep::store::serve(store, committer, hub)));
            (hub, called, vec![committer], vec![])
        }
        #[cfg(feature = "redis")]
        Some(Storage::Redis(relay, past)) => {
            let (commit_queue, committer) = crate::room::commit_queue::CommitQueue::new("redis");
            let before = past.messages.clone();
            let (hub, called) = Hub::resume(limits, past, Some(commit_queue));
            let of_reader = relay.clone();
            let committer: Work = ("committer", Box::new(move |hub, _| relay.send_all(committer, hub)));
            let reader: Work = ("reader", Box::new(move |hub, back| of_reader.read_all(hub, back)));
            (hub, called, vec![committer, reader], before)
        }
    }
}
