//! The counters of a process for the facade `metrics`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::actor::host::HostLink;
#[cfg(feature = "bus")]
use crate::bus::ProxyClient;
use crate::core::SystemHandle;
use crate::system::ActorSystem;

#[cfg(feature = "bus")]
use bus::KnownProxies;
use families::{Families, Round};
use short_name::short_name;

#[cfg(feature = "bus")]
mod bus;
mod families;
mod short_name;

/// The greatest number of actor types that are shown by name.
const MAX_TYPES: usize = 512;

/// The label of all other actor types.
const OTHER: &str = "_OTHER";

/// Publishes the counters of systems and clients through the facade [`metrics`](https://docs.rs/metrics), and so to
/// Prometheus and others. (Feature `metrics`.)
///
/// Create it after the recorder of the program is installed. It reads the counters when it
/// [publishes](Self::publish) them, and keeps a handle for each: an actor that handles a message does not know of it.
/// The page on [metrics](crate::docs::metrics) lists the families with their labels.
///
/// ```
/// use conclib::metrics::Exporter;
/// use conclib::prelude::*;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// # let client = ProxyClient::connect(&Config::memory()).await?;
/// // The recorder, such as `PrometheusBuilder::new().install()?` of `metrics-exporter-prometheus`, comes first.
/// let exporter = Exporter::new().system(&system).client("web", &client);
/// tokio::spawn(exporter.run(Duration::from_secs(5)));
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Exporter {
    /// Links, so that the exporter keeps no system.
    systems: Vec<HostLink>,
    #[cfg(feature = "bus")]
    clients: Vec<(String, ProxyClient)>,
    /// The actor types that have a label of their own.
    types: BTreeSet<String>,
    #[cfg(feature = "bus")]
    known_proxies: KnownProxies,
    families: Families,
}

impl Exporter {
    /// An exporter of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes the counters of this system's actors and of its proxies, as long as the system exists.
    #[must_use]
    pub fn system(mut self, system: &ActorSystem) -> Self {
        self.systems.push(system.link().host().clone());
        self
    }

    /// Publishes the counters of a client, with this value of the label `client`. The exporter keeps the client, and so
    /// its connections.
    #[cfg(feature = "bus")]
    #[must_use]
    pub fn client(mut self, name: impl Into<String>, client: &ProxyClient) -> Self {
        self.clients.push((name.into(), client.clone()));
        self
    }

    /// Publishes all counters at regular intervals, the first time at once; never returns.
    ///
    /// # Panics
    ///
    /// If the interval is zero.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it publishes no more.
    pub async fn run(mut self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.publish();
        }
    }

    /// Publishes all counters as they are now: before a scrape, or once more before the process ends. Of a system
    /// that is gone, the counters stay, and the gauges are 0.
    pub fn publish(&mut self) {
        let systems = self.systems.iter().map(HostLink::upgrade::<SystemHandle>);
        let systems: Vec<_> = systems
            .map(|system| system.map(ActorSystem::from_handle))
            .collect();
        let mut round = Round::default();
        for (place, system) in systems.iter().enumerate() {
            for of_type in system.iter().flat_map(|system| system.metrics().types) {
                let name = self.type_label(&of_type.actor_type);
                let source = format!("system {place}, {}", of_type.actor_type);
                round.from(source).actor_type(&name, &of_type);
            }
        }
        #[cfg(feature = "bus")]
        {
            for proxy in systems.iter().flatten().flat_map(ActorSystem::proxies) {
                let number = self.known_proxies.number(&proxy);
                round.from(format!("proxy {number}")).proxy(&proxy);
            }
            for (place, (name, client)) in self.clients.iter().enumerate() {
                round.from(format!("client {place}")).client(name, client);
            }
        }
        self.families.publish(round);
    }

    /// The label of an actor type: its name without paths, or [`OTHER`] if there are too many.
    fn type_label(&mut self, actor_type: &str) -> String {
        let name = short_name(actor_type);
        if self.types.len() < MAX_TYPES {
            self.types.insert(name.clone());
        }
        if self.types.contains(&name) {
            name
        } else {
            OTHER.to_owned()
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("systems", &self.systems.len())
            .finish_non_exhaustive()
    }
}
