//! Buses that behave as a test says.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{FIRST, MS};
use crate::bus::client::dispatcher::ReplyDispatcher;
use crate::bus::keys::Keys;
use crate::bus::protocol::{Answer, Kind, Received, encode_reply};
use crate::bus::transport::fleet::{FleetView, MapVersion, Members, NameOwners};
use crate::bus::transport::stream::{NewEntry, StreamProducer};
use crate::bus::transport::{
    ClientTransport, Copies, Enqueued, Epoch, Frame, LEASE, LeaseRecord, ReplySink, ServerTime,
    TransportError,
};
use crate::error::AskError;
use crate::urn::Urn;

/// A bus without a fleet.
macro_rules! no_fleet {
    ($bus:ident) => {
        #[async_trait]
        impl FleetView for $bus {
            async fn version(&self) -> Result<MapVersion, TransportError> {
                unreachable!("these tests have no fleet")
            }

            async fn members(&self) -> Result<Members, TransportError> {
                unreachable!("these tests have no fleet")
            }

            async fn look_up(&self, _: &[Urn]) -> Result<NameOwners, TransportError> {
                unreachable!("these tests have no fleet")
            }
        }
    };
}

/// A bus with neither durable messages nor a fleet.
macro_rules! no_stream {
    ($bus:ident) => {
        no_fleet!($bus);

        #[async_trait]
        impl StreamProducer for $bus {
            async fn append(&self, _: Vec<NewEntry>) -> Result<u64, TransportError> {
                unreachable!("these tests send no durable messages")
            }

            async fn len(&self) -> Result<u64, TransportError> {
                unreachable!("these tests send no durable messages")
            }
        }
    };
}

fn lease(epoch: u64) -> LeaseRecord {
    LeaseRecord {
        epoch: Epoch(epoch),
        versions: (1, 1),
        max_frame: 1 << 20,
        length: LEASE,
        serves: true,
    }
}

/// Takes batches after a delay.
pub(super) struct DelayedBus {
    /// Time that a batch takes to arrive, and again to be confirmed.
    delay: Duration,
    /// The current epoch.
    pub(super) epoch: AtomicU64,
    /// Requests that have arrived in time, as numbers from 0 on.
    pub(super) taken: Mutex<Vec<u64>>,
    /// Requests of those that were cancelled, in the same numbers.
    cancelled: Mutex<Vec<u64>>,
    pub(super) under_way: AtomicUsize,
    pub(super) most_under_way: AtomicUsize,
}

impl DelayedBus {
    pub(super) fn new(delay: Duration) -> Arc<Self> {
        Arc::new(Self {
            delay,
            epoch: AtomicU64::new(1),
            taken: Mutex::default(),
            cancelled: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    async fn travel(&self) {
        if self.delay.is_zero() {
            tokio::task::yield_now().await; // a timer would take a millisecond
        } else {
            sleep(self.delay).await;
        }
    }

    pub(super) fn taken(&self) -> Vec<u64> {
        self.taken.lock().clone()
    }

    pub(super) fn cancelled(&self) -> Vec<u64> {
        self.cancelled.lock().clone()
    }
}

#[async_trait]
impl ClientTransport for DelayedBus {
    async fn lease(&self, _: &Keys) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        Ok((Some(lease(self.epoch.load(SeqCst))), ServerTime(1)))
    }

    async fn enqueue(
        &self,
        _: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError> {
        let now = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most_under_way.fetch_max(now, SeqCst);
        self.travel().await;
        let lease = lease(self.epoch.load(SeqCst));
        if epoch == lease.epoch {
            for frame in &frames {
                let frame = frame.clone().into_bytes();
                let request = Received::decode(&frame).unwrap();
                let place = match request.kind {
                    Kind::Cancel => &self.cancelled,
                    _ => &self.taken,
                };
                place.lock().push(request.origin.id.wrapping_sub(FIRST));
            }
        }
        self.travel().await;
        self.under_way.fetch_sub(1, SeqCst);
        Ok(Enqueued {
            lease: Some(lease),
            length: 1,
            now: None,
        })
    }

    async fn take_back(
        &self,
        _: &Keys,
        _: Epoch,
        frames: Vec<Frame>,
        _: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        Ok(vec![false; frames.len()])
    }

    async fn close(&self) {}
}

no_stream!(DelayedBus);

/// Takes batches, and never confirms them.
pub(super) struct StalledBus;

#[async_trait]
impl ClientTransport for StalledBus {
    async fn lease(&self, _: &Keys) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        Ok((Some(lease(1)), ServerTime(1)))
    }

    async fn enqueue(&self, _: &Keys, _: Epoch, _: Vec<Frame>) -> Result<Enqueued, TransportError> {
        pending().await
    }

    async fn take_back(
        &self,
        _: &Keys,
        _: Epoch,
        frames: Vec<Frame>,
        _: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        Ok(vec![false; frames.len()])
    }

    async fn close(&self) {}
}

#[async_trait]
impl StreamProducer for StalledBus {
    async fn append(&self, _: Vec<NewEntry>) -> Result<u64, TransportError> {
        pending().await
    }

    async fn len(&self) -> Result<u64, TransportError> {
        pending().await
    }
}

no_fleet!(StalledBus);

/// Replies to the first read of the lease, and to nothing after it.
#[derive(Default)]
pub(super) struct SilentBus {
    has_replied: AtomicBool,
}

#[async_trait]
impl ClientTransport for SilentBus {
    async fn lease(&self, _: &Keys) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        if self.has_replied.swap(true, SeqCst) {
            pending::<()>().await;
        }
        Ok((Some(lease(1)), ServerTime(1)))
    }

    async fn enqueue(&self, _: &Keys, _: Epoch, _: Vec<Frame>) -> Result<Enqueued, TransportError> {
        pending().await
    }

    async fn take_back(
        &self,
        _: &Keys,
        _: Epoch,
        frames: Vec<Frame>,
        _: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        Ok(vec![false; frames.len()])
    }

    async fn close(&self) {}
}

no_stream!(SilentBus);

/// The owner of the lease refuses requests before the client learns of the next owner.
pub(super) struct SucceededBus {
    pub(super) replies: Arc<ReplyDispatcher>,
    pub(super) taken: AtomicUsize,
}

#[async_trait]
impl ClientTransport for SucceededBus {
    async fn lease(&self, _: &Keys) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        Ok((Some(lease(1)), ServerTime(1)))
    }

    async fn enqueue(
        &self,
        _: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError> {
        if epoch == Epoch(1) {
            let refused = Answer::new(FIRST, Err(AskError::NoResponder));
            self.replies
                .receive(encode_reply(epoch, vec![refused]).into_bytes());
        } else {
            self.taken.fetch_add(frames.len(), SeqCst);
        }
        let lease = Some(lease(2));
        Ok(Enqueued {
            lease,
            length: 1,
            now: None,
        })
    }

    async fn take_back(
        &self,
        _: &Keys,
        _: Epoch,
        frames: Vec<Frame>,
        _: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        Ok(vec![false; frames.len()])
    }

    async fn close(&self) {}
}

no_stream!(SucceededBus);

/// Loses its connection with each batch, and the owner of the lease meanwhile.
#[derive(Default)]
pub(super) struct LosingBus {
    pub(super) epoch: AtomicU64,
    pub(super) taken_back: Mutex<Vec<(Epoch, usize)>>,
}

#[async_trait]
impl ClientTransport for LosingBus {
    async fn lease(&self, _: &Keys) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        Ok((Some(lease(self.epoch.load(SeqCst))), ServerTime(1)))
    }

    async fn enqueue(&self, _: &Keys, _: Epoch, _: Vec<Frame>) -> Result<Enqueued, TransportError> {
        sleep(10 * MS).await;
        self.epoch.fetch_add(1, SeqCst);
        Err(TransportError::Unknown("lost".to_owned()))
    }

    async fn take_back(
        &self,
        _: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        _: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        self.taken_back.lock().push((epoch, frames.len()));
        Ok(vec![true; frames.len()])
    }

    async fn close(&self) {}
}

no_stream!(LosingBus);
