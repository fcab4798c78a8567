//! The things that every request can reach.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::hook::Memory;
use crate::hosts::known::Hosts;
use crate::http::{Exchange, Request};
use crate::keep::Hearing;
use crate::net::socket::Socket;
use crate::room::{Events, Hub, Subscription, Thing, message::HOST_STATE_EVENT};

/// The things that every request can reach.
pub struct Service {
    /// The user's settings.
    pub config: Config,
    /// The listeners and the messages.
    pub hub: Hub,
    /// The newest deliveries and pipelines of the forges.
    pub hooks: Arc<Memory>,
    /// The hosts that are known.
    pub hosts: Arc<Hosts>,
    /// The moment when it began.
    pub started: Instant,
}

impl Service {
    /// A service to which nothing was said yet but what `hub` has kept.
    pub fn new(config: Config, mut hub: Hub) -> Service {
        let started = Instant::now();
        let hosts = Arc::new(Hosts::restore(&words_on_hosts(&hub), started));
        let followed = hosts.clone();
        hub.show_to(Box::new(move |message| followed.follow(message, Instant::now)));
        Service { config, hub, hooks: Arc::default(), hosts, started }
    }

    /// Tells the hosts how this server hears the other servers.
    pub fn note(&self, hearing: Hearing) {
        match hearing {
            Hearing::Cut => self.hosts.go_deaf(Instant::now()),
            Hearing::Back => self.hosts.listen_anew(Instant::now()),
            Hearing::Renewed => self.hosts.renew(&words_on_hosts(&self.hub), Instant::now()),
        }
    }

    /// A request that came on `socket`, on its way to its answer.
    pub fn exchange<'a>(&'a self, request: Request, socket: &'a Arc<Socket>) -> Exchange<'a> {
        Exchange::new(request, socket, &self.config, &self.hub)
    }
}

/// The newest word on each host.
fn words_on_hosts(hub: &Hub) -> Vec<Thing> {
    let events = Events::Only(vec![HOST_STATE_EVENT.to_owned()]);
    hub.now(&Subscription { events, ..Subscription::default() }).1
}
