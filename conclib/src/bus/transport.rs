//! What the two ends need of a bus, and the buses there are.
//!
//! Both traits are narrow on purpose: batching, deadlines and bookkeeping live above them, in
//! [`server`](crate::bus::server) and [`client`](crate::bus::client), and are the same for every bus.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::config::{Bus, Config, ConfigError};
use crate::bus::link::health::Health;
use crate::reply::remote::ClientId;

use stream::{DeadLetterStore, StreamConsumer, StreamProducer};

pub(crate) mod stream;

/// How long a lease lasts after its last renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// How often the owner of a lease renews it.
pub(crate) const RENEW: Duration = Duration::from_secs(2);

/// Which reign of an actor system over its node: greater than every one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch(pub(crate) u64);

/// What the key of a lease holds: written by the actor system, read by its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) epoch: Epoch,
    /// The versions of the protocol that the owner speaks, lowest and highest.
    pub(crate) versions: (u8, u8),
    /// The largest request frame that the owner takes, in bytes.
    pub(crate) max_frame: u64,
}

/// Milliseconds since the Unix epoch on the bus' own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BusTime(pub(crate) u64);

/// Why the bus did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportError {
    /// It was certainly not done: never sent, or refused by the bus with a reason.
    #[error("{0}")]
    NotDone(String),
    /// The bus refused it, because this user lacks the permission.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory grants everything")
    )]
    #[error("{0}")]
    NotPermitted(String),
    /// It was given to the connection, and nothing came back.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    #[error("{0}")]
    Unknown(String),
}

/// What an attempt to take the lease came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It is ours.
    Granted { epoch: Epoch, now: BusTime },
    /// Somebody else has it.
    Held { holder: Lease },
}

/// What the bus says about a batch of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enqueued {
    /// The lease as it was when the batch arrived. If it is `None` or names another epoch than
    /// the batch went to, nobody will take the batch.
    pub(crate) lease: Option<Lease>,
    /// How many requests wait in the inbox, this batch included.
    pub(crate) length: u64,
    /// The time, if the bus was asked for it: a transport does now and then.
    pub(crate) now: Option<BusTime>,
}

/// What was taken off an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Popped {
    pub(crate) frames: Vec<Bytes>,
    /// Whose lease it was afterwards. Only if it was still that of the inbox may the frames be
    /// executed: clients that found it gone, or another's, take theirs for not done.
    pub(crate) owner: Result<Option<Epoch>, TransportError>,
}

/// The bus as the actor system's end sees it.
#[async_trait]
pub(crate) trait ServerTransport: Send + Sync {
    /// Takes the lease of the node if nobody holds it, or an earlier call of ours does that got no
    /// answer. The epoch of the lease that is written is
    /// chosen by the bus, greater than any before; the one in `lease` is ignored.
    async fn acquire(&self, lease: &Lease) -> Result<Acquired, TransportError>;

    /// Prolongs the lease by [`LEASE`]. `None`: it is not ours any more. What the epoch before left
    /// in its inbox is deleted: now, and not when the lease was taken, since the one who released
    /// it may still have been answering.
    async fn renew(&self, epoch: Epoch) -> Result<Option<BusTime>, TransportError>;

    /// Gives the lease back if it is ours (false: it is not), and appends `wake` to the inbox, so that a blocked
    /// [`pop`](Self::pop) returns.
    async fn release(&self, epoch: Epoch, wake: Bytes) -> Result<bool, TransportError>;

    /// Appends `wake` to the inbox of an epoch that is over, so that one more blocked
    /// [`pop`](Self::pop) returns. A wake that no pop takes does not remain: the system may end before
    /// it could delete the inbox, and the bus may have lost the list of epochs by which others would.
    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError>;

    /// Takes up to `count` frames off the inbox, waiting up to `block` for the first one; none if
    /// none came. A `block` of zero does not wait. Then looks whose lease it is.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped call may still pop. Run it to its end. Several may be under way: they end in
    /// the order in which they were first polled.
    async fn pop(
        &self,
        epoch: Epoch,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError>;

    /// Sends a frame to a client's reply channel; the number of receivers, `None` where the bus
    /// cannot tell.
    async fn publish(&self, client: ClientId, frame: Bytes) -> Result<Option<u64>, TransportError>;

    /// Opens a consumer of the node's durable messages, over a connection more.
    async fn consumer(&self) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        Err(stream::no_stream())
    }

    /// The node's dead letters.
    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::new(stream::NoDeadLetters)
    }

    /// Ends the connections. Nothing may be under way.
    async fn close(&self);
}

/// The bus as a client sees it.
#[async_trait]
pub(crate) trait ClientTransport: StreamProducer {
    /// The lease of the node, if any, and the time.
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError>;

    /// Appends a batch to the inbox of `epoch`, in order, and reads the lease before it. Given to
    /// the connection when it is first polled, so that batches stay in order. Never doubles the batch,
    /// whatever happens to the connection. Not done while replies could not come in.
    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError>;

    /// Takes a batch out of the inbox of an epoch that is over, as well as it can: nobody else may know
    /// of that inbox any more.
    async fn take_back(&self, _epoch: Epoch, _frames: Vec<Bytes>) {}

    /// Ends the connections.
    async fn close(&self);
}

/// Takes a client's replies as they come in. A call instead of a channel and a task behind it: each
/// step between the socket and the asker costs a caller who is alone several microseconds.
pub(crate) trait ReplySink: Send + Sync {
    /// Must neither wait nor take long: replies that come in too fast are lost.
    fn receive(&self, frame: Bytes);
}

/// Opens the actor system's end of the configured bus.
///
/// It tells `health` of connections that are lost and made again.
pub(crate) async fn open_server(
    config: &Config,
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused, reason = "a bus in memory is never lost")
    )]
    health: &Arc<Health>,
) -> Result<Arc<dyn ServerTransport>, OpenError> {
    config.check()?;
    match &config.bus {
        Bus::Memory(bus) => {
            let server = Arc::new(crate::bus::memory::Server::new(bus.clone(), config));
            #[cfg(feature = "test-util")]
            if let Some(faults) = &config.faults {
                return Ok(Arc::new(crate::bus::faults::transport::Server::new(
                    server, faults,
                )));
            }
            Ok(server)
        }
        #[cfg(feature = "redis")]
        Bus::Redis(address) => Ok(Arc::new(
            crate::bus::redis::Server::connect(address, config, health).await?,
        )),
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

/// Opens a client's end of the configured bus. Its replies go to `replies` until it is closed: it
/// is subscribed, and proven so, before it is returned.
///
/// It tells `health` of connections that are lost and made again.
pub(crate) async fn open_client(
    config: &Config,
    client: ClientId,
    replies: Arc<dyn ReplySink>,
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused, reason = "a bus in memory is never lost")
    )]
    health: &Arc<Health>,
) -> Result<Arc<dyn ClientTransport>, OpenError> {
    config.check()?;
    match &config.bus {
        Bus::Memory(bus) => {
            let open =
                |replies| crate::bus::memory::Client::open(bus.clone(), config, client, replies);
            #[cfg(feature = "test-util")]
            if let Some(faults) = &config.faults {
                return Ok(crate::bus::faults::transport::Client::open(
                    open, faults, client, replies,
                ));
            }
            Ok(open(replies))
        }
        #[cfg(feature = "redis")]
        Bus::Redis(address) => {
            crate::bus::redis::Client::connect(address, config, client, replies, health).await
        }
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

#[cfg(not(feature = "redis"))]
fn without_redis() -> ConfigError {
    ConfigError::unsupported("conclib was built without its feature `redis`")
}

/// Why the bus cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No connection, or no permission.
    #[error("cannot reach Redis at {address}: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What went wrong.
        reason: String,
    },
}

/// The key or channel names of one namespace; the braces keep one node's keys in one cluster slot.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    namespace: String,
    node: String,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            namespace: config.namespace.clone(),
            node: config.node.clone(),
        }
    }

    pub(crate) fn lease(&self) -> String {
        self.of_node("lease")
    }

    /// A key of the node.
    pub(crate) fn of_node(&self, what: &str) -> String {
        format!("{}:{{n:{}}}:{what}", self.namespace, self.node)
    }

    /// The pattern of every inbox, for the rules of who may do what.
    pub(crate) fn inboxes(&self) -> String {
        self.of_node("inbox:*")
    }

    /// The pattern of every client's reply channel.
    pub(crate) fn replies(&self) -> String {
        format!("{}:{{c:*}}:reply", self.namespace)
    }

    /// The last epoch that was given out, so that the next is greater and finds its inbox.
    pub(crate) fn last_epoch(&self) -> String {
        self.of_node("epoch")
    }

    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn inbox(&self, epoch: Epoch) -> String {
        format!("{}:{{n:{}}}:inbox:{}", self.namespace, self.node, epoch.0)
    }

    /// The stream of durable messages.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn durable(&self) -> String {
        format!("{}:{{n:{}}}:durable", self.namespace, self.node)
    }

    /// The dead letters: durable messages that could not be handled.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}:{{n:{}}}:dead", self.namespace, self.node)
    }

    /// The cached result of an acknowledged durable message.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    pub(crate) fn result_cache(&self, dedup_key: &str) -> String {
        format!("{}:{{n:{}}}:done:{dedup_key}", self.namespace, self.node)
    }

    pub(crate) fn reply(&self, client: ClientId) -> String {
        use std::fmt::Write;
        let mut hex = String::with_capacity(32);
        for byte in client.0 {
            let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        }
        format!("{}:{{c:{hex}}}:reply", self.namespace)
    }
}
