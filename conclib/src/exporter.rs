//! The counters of a process for the facade `metrics`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::actor::host::HostLink;
#[cfg(feature = "bus")]
use crate::bus::ProxyClient;
use crate::core::SystemHandle;
use crate::message::ActorMessage;
use crate::system::ActorSystem;
use crate::topic::Topic;

#[cfg(feature = "bus")]
use bus::KnownProxies;
use families::{Families, Round};
use short_name::short_name;

#[cfg(feature = "bus")]
mod bus;
mod descriptions;
mod families;
mod short_name;

/// The greatest number of actor types that are shown by name.
const MAX_TYPES: usize = 512;

/// The label of all other actor types.
const OTHER: &str = "_OTHER";

/// Reads the number of copies that a topic has dropped.
type DroppedCopies = Box<dyn Fn() -> u64 + Send + Sync>;

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
    topics: Vec<(String, DroppedCopies)>,
    /// One local message in so many is timed.
    sampled_one_in: Option<u32>,
    /// The actor types that have a label of their own.
    types: BTreeSet<String>,
    #[cfg(feature = "bus")]
    known_proxies: KnownProxies,
    families: Families,
}

impl Exporter {
    /// Upper bounds of buckets, in seconds, for the families of histograms: from 100 µs to a minute. Without bounds, the recorder for
    /// Prometheus publishes summaries, which cannot be added up over processes.
    ///
    /// ```
    /// use conclib::metrics::Exporter;
    ///
    /// // builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &Exporter::BUCKETS)?
    /// assert!(Exporter::BUCKETS.is_sorted());
    /// ```
    pub const BUCKETS: [f64; 18] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0, 30.0, 60.0,
    ];

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

    /// Publishes the number of copies that this topic has dropped, with this value of the label `topic`.
    ///
    /// ```
    /// use conclib::metrics::Exporter;
    /// use conclib::prelude::*;
    /// use conclib::topic::Topic;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize, Clone)]
    /// struct Price { cents: u64 }
    ///
    /// let prices = Topic::<Price>::new();
    /// let exporter = Exporter::new().topic("prices", &prices);
    /// ```
    #[must_use]
    pub fn topic<M>(mut self, name: impl Into<String>, topic: &Topic<M>) -> Self
    where
        M: ActorMessage + Clone,
    {
        let topic = topic.clone();
        let dropped = Box::new(move || topic.dropped());
        self.topics.push((name.into(), dropped));
        self
    }

    /// Has one in so many messages timed of those that do not come from the bus, which are all timed: for the family
    /// `conclib_handler_seconds`. The actors of its systems begin with that after it has published for the first time.
    ///
    /// A timed message takes two reads of the clock more, some 50 ns. Of messages that an actor handles without a pause in
    /// between, one is timed at most, so that 1 costs little where it matters. 0 ends it.
    ///
    /// ```
    /// use conclib::metrics::Exporter;
    ///
    /// # let system = conclib::ActorSystem::new();
    /// let exporter = Exporter::new().system(&system).sample_local(64);
    /// ```
    #[must_use]
    pub fn sample_local(mut self, one_in: u32) -> Self {
        self.sampled_one_in = Some(one_in);
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
        for (place, (name, dropped)) in self.topics.iter().enumerate() {
            let mut figures = round.from(format!("topic {place}"));
            figures.count("conclib_topic_dropped_total", &[("topic", name)], dropped());
        }
        for (place, system) in systems.iter().enumerate() {
            if let (Some(system), Some(one_in)) = (system, self.sampled_one_in) {
                for counters in system.core().types() {
                    counters.sample_local(one_in);
                }
            }
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
