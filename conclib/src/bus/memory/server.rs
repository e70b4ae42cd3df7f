//! The actor system's end of the bus in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::keys::Keys;
use crate::bus::memory::dead_letters::MemoryDeadLetters;
use crate::bus::memory::fleet::MemoryFleet;
use crate::bus::memory::inbox::TakenFrames;
use crate::bus::memory::stream::MemoryConsumer;
use crate::bus::memory::{HeldLease, MemoryBus, Node, Owner, check_open};
use crate::bus::transport::fleet::FleetMap;
use crate::bus::transport::stream::{DeadLetterStore, StreamConsumer};
use crate::bus::transport::{
    Acquired, Backlog, Epoch, FormerTerm, Frame, LeaseClaim, LeaseGrant, LeaseHolder, LeaseRecord,
    Lists, Popped, ServerNumber, ServerTime, ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;

/// The actor system's end of a memory bus.
pub(super) struct MemoryServer {
    bus: Arc<MemoryBus>,
    keys: Keys,
    /// Set at the first attempt to take the lease.
    owner: OnceLock<Owner>,
    closed: Arc<AtomicBool>,
}

impl MemoryServer {
    pub(super) fn new(bus: Arc<MemoryBus>, keys: Keys) -> Self {
        Self {
            bus,
            keys,
            owner: OnceLock::new(),
            closed: Arc::default(),
        }
    }

    fn with_node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> Result<T, TransportError> {
        check_open(&self.closed)?;
        let mut tables = self.bus.tables();
        Ok(act(tables.nodes.entry(self.keys.lease()).or_default()))
    }
}

impl Node {
    /// True if another owner has had the lease since this epoch of `owner`.
    fn had_others_since(&self, before: Epoch, owner: Owner) -> bool {
        let of_others = if self.last_owner == Some(owner) {
            self.last_of_others
        } else {
            self.last
        };
        of_others > before
    }

    /// Writes the lease of this epoch anew; false if `owner` does not own it.
    fn rewrite(&mut self, epoch: Epoch, owner: Option<&Owner>, claim: &LeaseClaim) -> bool {
        match self.lease() {
            Some((held, expires)) if held.is_of(epoch, owner) => {
                held.lease = lease_of(claim, epoch);
                *expires = Instant::now() + claim.length;
                true
            }
            _ => false,
        }
    }

    /// Begins a lease term, with an inbox of its own.
    fn begin_term(&mut self, held: HeldLease) {
        let before = (self.last, std::mem::take(&mut self.inbox));
        let (epoch, length) = (held.lease.epoch, held.lease.length);
        let is_same = self.last_owner == Some(held.owner);
        *self = Self {
            last_of_others: if is_same {
                self.last_of_others
            } else {
                self.last
            },
            last: epoch,
            last_owner: Some(held.owner),
            was_released: false,
            lease: Some((held, Instant::now() + length)),
            inbox: Arc::default(),
            before: Some(before),
        };
    }
}

/// The lease that a system asks for, with its epoch.
fn lease_of(claim: &LeaseClaim, epoch: Epoch) -> LeaseRecord {
    let LeaseClaim {
        versions,
        max_frame,
        length,
        serves,
        ..
    } = *claim;
    LeaseRecord {
        epoch,
        versions,
        max_frame,
        length,
        serves,
    }
}

#[async_trait]
impl ServerTransport for MemoryServer {
    async fn prepare(&self) -> Result<(), TransportError> {
        check_open(&self.closed)
    }

    async fn acquire(&self, claim: &LeaseClaim) -> Result<Acquired, TransportError> {
        let now = self.bus.now();
        self.with_node(|node| {
            let epoch = Epoch(now.0.max(node.last.0 + 1));
            let knows_age = claim.age.is_some() || self.owner.get().is_some();
            let owner = *self.owner.get_or_init(|| Owner {
                id: fastrand::u64(..),
                age: claim.age.unwrap_or(epoch),
            });
            let before = claim.before.unwrap_or(node.last);
            let is_namesake =
                |held: &HeldLease| !claim.instance.is_empty() && held.instance == claim.instance;
            let holder = |held: &HeldLease, is_successor| {
                Acquired::Held(LeaseHolder {
                    lease: held.lease.clone(),
                    instance: held.instance.clone(),
                    is_successor,
                })
            };
            let other = node.lease().filter(|(held, _)| held.owner != owner);
            if let Some((held, _)) = &other
                && is_namesake(held)
                && held.owner.age >= owner.age
            {
                return holder(held, true);
            }
            if node.had_others_since(before, owner) {
                node.lease.take_if(|(held, _)| held.owner == owner);
                return Acquired::Lost;
            }
            let other = node.lease().filter(|(held, _)| held.owner != owner);
            if let Some((held, _)) = other
                && (!knows_age || !is_namesake(held))
            {
                return holder(held, false);
            }
            let former = node.last_owner.map(|former| FormerTerm {
                epoch: node.last,
                is_own: former == owner,
                was_released: node.was_released,
            });
            node.begin_term(HeldLease {
                lease: lease_of(claim, epoch),
                owner,
                instance: claim.instance.clone(),
            });
            Acquired::Granted(LeaseGrant {
                epoch,
                now,
                server: ServerNumber::default(),
                former,
            })
        })
    }

    async fn open(&self, epoch: Epoch, claim: &LeaseClaim) -> Result<bool, TransportError> {
        self.with_node(|node| node.rewrite(epoch, self.owner.get(), claim))
    }

    async fn renew(
        &self,
        epoch: Epoch,
        length: Duration,
    ) -> Result<Option<ServerTime>, TransportError> {
        let renewed = self.with_node(|node| match node.lease() {
            Some((held, expires)) if held.is_of(epoch, self.owner.get()) => {
                *expires = Instant::now() + length;
                node.before = None;
                true
            }
            _ => false,
        })?;
        Ok(renewed.then(|| self.bus.now()))
    }

    async fn stop_serving(
        &self,
        epoch: Epoch,
        claim: &LeaseClaim,
        wake: Bytes,
    ) -> Result<bool, TransportError> {
        self.with_node(|node| {
            let is_owner = node.rewrite(epoch, self.owner.get(), claim);
            if is_owner {
                // If the inbox is full, no pop waits for the wake.
                node.inbox.push(vec![wake.into()]);
            }
            is_owner
        })
    }

    async fn release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.with_node(|node| {
            let is_owner = node.is_held_by(epoch, self.owner.get());
            if is_owner {
                node.lease = None;
                node.was_released = true;
            }
            is_owner
        })
    }

    async fn give_up(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.with_node(|node| {
            let is_owner = node.is_held_by(epoch, self.owner.get());
            if is_owner {
                node.lease = None;
            }
            is_owner
        })
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        self.with_node(|node| {
            if let Some(inbox) = node.inbox(epoch) {
                inbox.push(vec![wake.into()]);
            }
        })
    }

    async fn pop(
        &self,
        epoch: Epoch,
        lists: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        let inbox = self.with_node(|node| node.inbox(epoch))?;
        let TakenFrames { frames, operator } = if let Some(inbox) = inbox {
            inbox.pop(lists, count, block).await
        } else {
            tokio::time::sleep(block).await;
            TakenFrames::default()
        };
        let owner = self.with_node(|node| Some(node.serving()?.epoch));
        Ok(Popped {
            frames,
            operator,
            ..Popped::nothing(owner)
        })
    }

    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError> {
        check_open(&self.closed)?;
        let channel = self.keys.reply(client);
        let sink = {
            let tables = self.bus.tables();
            tables
                .clients
                .get(&channel)
                .map(|client| client.sink.clone())
        };
        let Some(sink) = sink else {
            return Ok(Some(0));
        };
        sink.receive(frame.into_bytes()); // outside the lock
        Ok(Some(1))
    }

    async fn owner(&self) -> Result<Option<Epoch>, TransportError> {
        self.with_node(|node| node.lease().map(|(held, _)| held.lease.epoch))
    }

    async fn backlog(&self, epoch: Epoch) -> Result<Backlog, TransportError> {
        let inbox = self.with_node(|node| node.inbox(epoch))?;
        let inbox = inbox.map_or(0, |inbox| inbox.len());
        let mut backlog = self.bus.store(&self.keys).backlog();
        backlog.inbox = Some(inbox);
        Ok(backlog)
    }

    async fn consumer(&self, instance: &str) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        check_open(&self.closed)?;
        let consumer = MemoryConsumer::new(self.bus.clone(), &self.keys, instance);
        Ok(Arc::new(consumer))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::new(MemoryDeadLetters::new(self.bus.clone(), &self.keys))
    }

    fn fleet(&self) -> Arc<dyn FleetMap> {
        let (bus, closed) = (self.bus.clone(), self.closed.clone());
        Arc::new(MemoryFleet::new(bus, self.keys.clone(), closed))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}
