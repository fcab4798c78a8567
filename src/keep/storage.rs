//! What stands behind the history, as the user wants it: nothing but memory, a store, or Redis. The one place that
//! knows which there are; with neither built in there is nothing here but memory.

use crossbeam_channel::Receiver;

use crate::api::route::Service;
use crate::config::Config;
use crate::room::hub::{Hub, Limits};

/// What stands behind the history, opened.
pub enum Backing {
    /// A file.
    #[cfg(feature = "store")]
    Store(crate::keep::store::Store, crate::room::history::Past),
    /// A Redis.
    #[cfg(feature = "redis")]
    Redis(std::sync::Arc<crate::keep::relay::Relay>, crate::room::history::Past),
}

/// A thread's name, and its life, which ends when the hub is closed.
pub type Work = (&'static str, Box<dyn FnOnce(&Service) + Send>);

impl Backing {
    /// Opens what `config` names; `None` where that is nothing.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn open(config: &Config) -> Result<Option<Backing>, String> {
        #[cfg(feature = "store")]
        if let (Some(file), None) = (&config.store, &config.redis) {
            let (store, past) = crate::keep::store::Store::open(file)?;
            log::info!("Keeping what is said in {} (messages so far: {})", file.display(), past.messages.len());
            return Ok(Some(Backing::Store(store, past)));
        }
        #[cfg(feature = "redis")]
        if let Some(url) = &config.redis {
            if config.store.is_some() {
                return Err("--store and --redis both keep what is said; give one of them".to_owned());
            }
            let (relay, past) = crate::keep::relay::Relay::open(&url.0, config.history)?;
            log::info!("Sharing what is said by Redis at {}", relay.name());
            return Ok(Some(Backing::Redis(relay, past)));
        }
        let _ = config;
        Ok(None)
    }
}

/// A hub with `backing` behind it, the receiver on which its keeper is called, and the threads that the backing needs.
pub fn furnish(limits: Limits, backing: Option<Backing>) -> (Hub, Receiver<()>, Vec<Work>) {
    match backing {
        None => {
            let (hub, called) = Hub::new(limits);
            (hub, called, vec![])
        }
        #[cfg(feature = "store")]
        Some(Backing::Store(store, past)) => {
            let (desk, clerk) = crate::room::commit_queue::Desk::new("store");
            let (hub, called) = Hub::resume(limits, past, Some(desk));
            let clerk: Work = ("clerk", Box::new(move |service| crate::keep::store::serve(store, clerk, &service.hub)));
            (hub, called, vec![clerk])
        }
        #[cfg(feature = "redis")]
        Some(Backing::Redis(relay, past)) => {
            let (desk, clerk) = crate::room::commit_queue::Desk::new("redis");
            let before = past.messages.clone();
            let (hub, called) = Hub::resume(limits, past, Some(desk));
            let of_reader = relay.clone();
            let clerk: Work = ("clerk", Box::new(move |service| relay.send_all(clerk, &service.hub)));
            let read_all = move |service: &Service| {
                let now = std::time::Instant::now();
                before.into_iter().for_each(|message| service.hosts.follow(&message, message.id, now));
                of_reader.read_all(&service.hub, &service.hosts);
            };
            let reader: Work = ("reader", Box::new(read_all));
            (hub, called, vec![clerk, reader])
        }
    }
}
