//! The bus within one process: nothing to install, and no other process can reach it.
//!
//! It behaves as Redis does, except that there is no connection to lose. Time is tokio's, so that
//! tests can pause it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::bus::config::{Bus, Config, LocalBus};
use crate::bus::keys::Keys;
use crate::bus::transport::monitor::BusView;
use crate::bus::transport::stream::DeadLetterStore;
use crate::bus::transport::{
    ClientTransport, Epoch, LeaseRecord, OperatorTransport, ReplySink, ServerTime, ServerTransport,
    TransportError,
};
use crate::reply::remote::ClientId;
use client::MemoryClient;
use dead_letters::MemoryDeadLetters;
use fleet::Fleet;
use inbox::Inbox;
use monitor::MemoryView;
use operator::MemoryOperator;
use server::MemoryServer;

mod client;
mod dead_letters;
mod fleet;
mod inbox;
mod monitor;
mod operator;
mod result_cache;
mod server;
mod stream;

impl Config {
    /// A bus within this process: nothing to install, and no other process can reach it. Clones share
    /// it; each call makes a new one.
    pub fn memory() -> Self {
        Self::with_bus(Bus::Local(Arc::new(MemoryBus::default())))
    }
}

/// The state that several namespaces and nodes share, as they would share a Redis.
#[derive(Default)]
pub(crate) struct MemoryBus {
    tables: Mutex<Tables>,
    /// The moment of the first use: milliseconds since the Unix epoch, and tokio's time.
    start: OnceLock<(u64, Instant)>,
}

#[derive(Default)]
struct Tables {
    /// Nodes by their lease's key.
    nodes: HashMap<String, Node>,
    /// Connected clients by their channel.
    clients: HashMap<String, Subscriber>,
    /// The maps of fleets by their keys.
    fleets: HashMap<String, Fleet>,
    /// Durable messages of nodes, by the lease's key.
    stores: HashMap<String, Arc<stream::StreamStore>>,
}

/// A connected client.
struct Subscriber {
    sink: Arc<dyn ReplySink>,
    /// The channel on which it hears of changes of the map, if it does.
    map_changes: Option<String>,
}

#[derive(Default)]
struct Node {
    /// The lease, and when it expires.
    lease: Option<(HeldLease, Instant)>,
    /// The last epoch that was given out; 0 if none was.
    last: Epoch,
    /// The owner of that epoch.
    last_owner: Option<Owner>,
    /// That owner has released the lease.
    was_released: bool,
    /// The last epoch that another owner than the last one had.
    last_of_others: Epoch,
    /// The inbox of that epoch. Requests to an earlier one are dropped: no system would take them.
    inbox: Arc<Inbox>,
    /// The inbox of the epoch before, until the first renewal: its owner may be answering the
    /// requests that are left in it.
    before: Option<(Epoch, Arc<Inbox>)>,
}

/// A lease with its owner.
struct HeldLease {
    lease: LeaseRecord,
    owner: Owner,
    instance: String,
}

impl HeldLease {
    fn is_of(&self, epoch: Epoch, owner: Option<&Owner>) -> bool {
        self.lease.epoch == epoch && Some(&self.owner) == owner
    }
}

/// The end that takes a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    /// A number for each end.
    id: u64,
    /// The moment of its first attempt, as an epoch that could have been given out then.
    age: Epoch,
}

impl MemoryBus {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }

    /// The durable messages of a node.
    fn store(&self, keys: &Keys) -> Arc<stream::StreamStore> {
        let mut tables = self.tables();
        tables.stores.entry(keys.lease()).or_default().clone()
    }

    fn now(&self) -> ServerTime {
        let (wall, start) = *self.start.get_or_init(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            (millis(since), Instant::now())
        });
        ServerTime(wall + millis(start.elapsed()))
    }
}

impl LocalBus for MemoryBus {
    fn server(self: Arc<Self>, keys: Keys) -> Arc<dyn ServerTransport> {
        Arc::new(MemoryServer::new(self, keys))
    }

    fn client(
        self: Arc<Self>,
        keys: Keys,
        client: ClientId,
        map_changes: Option<String>,
        sink: Arc<dyn ReplySink>,
    ) -> Arc<dyn ClientTransport> {
        let subscriber = Subscriber { sink, map_changes };
        Arc::new(MemoryClient::new(self, keys, client, subscriber))
    }

    fn operator(
        self: Arc<Self>,
        keys: Keys,
        client: ClientId,
        sink: Arc<dyn ReplySink>,
    ) -> Arc<dyn OperatorTransport> {
        let map_changes = None;
        let subscriber = Subscriber { sink, map_changes };
        Arc::new(MemoryOperator::new(self, keys, client, subscriber))
    }

    fn dead_letters(self: Arc<Self>, keys: Keys) -> Arc<dyn DeadLetterStore> {
        Arc::new(MemoryDeadLetters::new(self, &keys))
    }

    fn view(self: Arc<Self>, keys: Keys) -> Arc<dyn BusView> {
        Arc::new(MemoryView::new(self, keys))
    }
}

impl Node {
    /// The lease if it has not expired.
    fn lease(&mut self) -> Option<&mut (HeldLease, Instant)> {
        let now = Instant::now();
        self.lease.take_if(|(_, expires)| *expires <= now);
        self.lease.as_mut()
    }

    /// True if the owner has the lease of this epoch.
    fn is_held_by(&mut self, epoch: Epoch, owner: Option<&Owner>) -> bool {
        self.lease()
            .is_some_and(|(held, _)| held.is_of(epoch, owner))
    }

    /// The lease, if its owner takes requests.
    fn serving(&mut self) -> Option<LeaseRecord> {
        self.lease()
            .and_then(|(held, _)| held.lease.clone().serving())
    }

    /// The inbox of `epoch`, if there still is one.
    fn inbox(&self, epoch: Epoch) -> Option<Arc<Inbox>> {
        let before = self.before.as_ref().filter(|(before, _)| *before == epoch);
        match before {
            Some((_, inbox)) => Some(inbox.clone()),
            None => (self.last == epoch).then(|| self.inbox.clone()),
        }
    }
}

fn check_open(closed: &AtomicBool) -> Result<(), TransportError> {
    if closed.load(Ordering::Relaxed) {
        return Err(TransportError::NotDone("closed".to_owned()));
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
