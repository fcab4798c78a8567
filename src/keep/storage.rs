//! The storage behind the history that the user has chosen: memory alone, a store, or Redis. Only this module knows
//! which kinds there are. If neither is built in, there is memory alone.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::room::hub::{Hub, Limits};
use crate::room::message::Message;

/// A thread that the storage needs: its name, and its life, which ends when the hub is closed. The life calls the
/// function that it is given when other servers can be heard again after a break.
pub type Work = (&'static str, Box<dyn FnOnce(&Hub, &dyn Fn()) + Send>);

/// A hub, the receiver on which its keeper is called, the threads that the storage needs, and the earlier messages that
/// [`Hosts`](crate::hosts::known::Hosts) has still to follow. Only Redis has such messages: hosts beat at other servers
/// too.
pub type OpenHub = (Hub, Receiver<()>, Vec<Work>, Vec<Arc<Message>>);

/// Makes the hub in front of a storage that was opened.
pub type MakeHub = Box<dyn FnOnce(Limits) -> OpenHub>;

/// Opens the storage that `config` names, and reads what it has kept. If it names none, only memory keeps messages.
///
/// # Errors
/// One line for the user: what is wrong, and what to do.
pub fn open(config: &Config) -> Result<MakeHub, String> {
    #[cfg(feature = "store")]
    if let Some(file) = &config.store {
        let (store, past) = crate::keep::store::Store::open(file)?;
        log::info!("Keeping what is said in {} (messages so far: {})", file.display(), past.messages.len());
        return Ok(Box::new(move |limits| {
            let (commit_queue, committer) = crate::room::commit_queue::CommitQueue::new("store");
            let (hub, called) = Hub::resume(limits, past, Some(commit_queue));
            let life = move |hub: &Hub, _: &dyn Fn()| crate::keep::store::serve(store, committer, hub);
            (hub, called, vec![("committer", Box::new(life))], vec![])
        }));
    }
    #[cfg(feature = "redis")]
    if let Some(url) = &config.redis {
        let (relay, past) = crate::keep::relay::Relay::open(url, config.history, config.things)?;
        log::info!("Sharing what is said by Redis at {}", relay.name());
        return Ok(Box::new(move |limits| {
            let (commit_queue, committer) = crate::room::commit_queue::CommitQueue::new("redis");
            let (before, of_reader) = (past.messages.clone(), relay.clone());
            let (hub, called) = Hub::resume(limits, past, Some(commit_queue));
            let committer: Work = ("committer", Box::new(move |hub, _| relay.send_all(committer, hub)));
            let reader: Work = ("reader", Box::new(move |hub, back| of_reader.read_all(hub, back)));
            (hub, called, vec![committer, reader], before)
        }));
    }
    let _ = config;
    Ok(Box::new(|limits| {
        let (hub, called) = Hub::new(limits);
        (hub, called, vec![], vec![])
    }))
}
