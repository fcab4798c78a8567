//! What stands behind the history, as the user wants it: nothing but memory, or a store. The one place that knows which
//! there are; with neither built in there is nothing here but memory.

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::hub::{Hub, Limits};

/// What stands behind the history, opened.
pub enum Backing {
    /// A file.
    #[cfg(feature = "store")]
    Store(crate::store::Store, crate::history::Past),
}

/// The life of the clerk, a thread that ends when the hub is closed.
pub type Work = Box<dyn FnOnce(&Hub) + Send>;

impl Backing {
    /// Opens what `config` names; `None` where that is nothing.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn open(config: &Config) -> Result<Option<Backing>, String> {
        #[cfg(feature = "store")]
        if let Some(file) = &config.store {
            let (store, past) = crate::store::Store::open(file).map_err(|error| error.to_string())?;
            log::info!("Keeping what is said in {}, which has {} messages", file.display(), past.messages.len());
            return Ok(Some(Backing::Store(store, past)));
        }
        let _ = config;
        Ok(None)
    }
}

/// A hub with `backing` behind it, the receiver on which its keeper is called, and the work of the clerk if there is one.
pub fn furnish(limits: Limits, backing: Option<Backing>) -> (Hub, Receiver<()>, Option<Work>) {
    match backing {
        None => {
            let (hub, called) = Hub::new(limits);
            (hub, called, None)
        }
        #[cfg(feature = "store")]
        Some(Backing::Store(store, past)) => {
            let (desk, clerk) = crate::desk::Desk::new("store");
            let (hub, called) = Hub::resume(limits, past, Some(desk));
            (hub, called, Some(Box::new(move |hub: &Hub| crate::store::serve(store, clerk, hub))))
        }
    }
}
