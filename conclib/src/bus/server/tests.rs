//! A proxy over a bus that behaves as a test says. Time is paused.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::ActorSystem;
use crate::bus::keys::Right;
use crate::bus::link::health::ConnectionState;
use crate::bus::protocol::{Kind, ReceivedAnswer, Request, decode_reply};
use crate::bus::proxy::{Proxy, serve};
use crate::bus::server::acquire::ACQUIRE_INTERVAL;
use crate::bus::server::renewer::RENEWALS;
use crate::bus::transport::fleet::FleetMap;
use crate::bus::transport::stream::{DeadLetterStore, StreamConsumer};
use crate::bus::transport::{
    Acquired, Backlog, CutFrame, Epoch, FormerTerm, Frame, LEASE, LeaseClaim, LeaseGrant,
    LeaseHolder, LeaseRecord, Lists, OperatorFrames, Popped, ServerNumber, ServerTime,
    TransportError,
};
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::reply::remote::{ClientId, Origin};
use crate::urn::Urn;

mod closing;

const MS: Duration = Duration::from_millis(1);

/// The client, the id of its request, and the answer.
type Published = (ClientId, u64, Result<Bytes, AskError>);

/// The owner of the lease.
#[derive(Clone, Copy)]
enum Holder {
    LastGranted,
    None,
    /// None where requests are popped, and the last granted one where leases are taken.
    Contested,
    Another(Epoch),
    /// Reading the lease fails.
    Unknown,
}

struct Bus {
    start: Instant,
    /// Duration of the preparation of an acquisition.
    preparation: Duration,
    /// Duration of a renewal.
    renewal: Duration,
    /// Renewals fail at once.
    fails_to_renew: bool,
    /// Number of renewals that were sent.
    renewals: AtomicUsize,
    /// The epoch that was given out last.
    epoch: AtomicU64,
    /// The number of the server that is popped from.
    server: AtomicU64,
    holder: Mutex<Holder>,
    /// Time until which publishing fails.
    outage: Duration,
    /// Time until which the lease cannot be closed.
    deafness: Duration,
    /// Pops fail from the close on.
    fails_after_close: bool,
    /// A frame that comes in this long after the close.
    straggler: Option<(Duration, Bytes)>,
    inbox: Mutex<VecDeque<Bytes>>,
    /// Frames that come before those of the inbox, of an operator.
    actions: Mutex<Vec<Bytes>>,
    /// Larger frames are cut by pops.
    max_frame: usize,
    filled: Notify,
    popping: AtomicUsize,
    most_popping: AtomicUsize,
    publishing: AtomicUsize,
    most_publishing: AtomicUsize,
    published: Mutex<Vec<Published>>,
    /// The requests whose refusal says that no copy of them was executed.
    unexecuted: Mutex<Vec<u64>>,
    /// Clients know that no more requests are taken.
    closed_lease: AtomicBool,
    released: AtomicBool,
    /// A lease that was lost was given back.
    given_up: AtomicBool,
    /// An actor has stopped after the release.
    stopped_unleased: AtomicBool,
    /// The connections are closed.
    closed: AtomicBool,
}

impl Bus {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            preparation: Duration::ZERO,
            renewal: Duration::ZERO,
            fails_to_renew: false,
            renewals: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            server: AtomicU64::new(0),
            holder: Mutex::new(Holder::LastGranted),
            outage: Duration::ZERO,
            deafness: Duration::ZERO,
            fails_after_close: false,
            straggler: None,
            inbox: Mutex::default(),
            actions: Mutex::default(),
            max_frame: usize::MAX,
            filled: Notify::new(),
            popping: AtomicUsize::new(0),
            most_popping: AtomicUsize::new(0),
            publishing: AtomicUsize::new(0),
            most_publishing: AtomicUsize::new(0),
            published: Mutex::default(),
            unexecuted: Mutex::default(),
            closed_lease: AtomicBool::new(false),
            released: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            stopped_unleased: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    async fn serve(self) -> (Arc<Self>, ActorSystem, Proxy) {
        let bus = Arc::new(self);
        let system = ActorSystem::new();
        let proxy = serve(&system, &Config::memory(), bus.clone(), Arc::default()).await;
        (bus, system, proxy.unwrap())
    }

    /// The outcome of a pop, with the large frames cut.
    fn popped(&self, all: Vec<Bytes>, owner: Result<Option<Epoch>, TransportError>) -> Popped {
        let (mut frames, mut cut) = (Vec::new(), Vec::new());
        for frame in all {
            if frame.len() <= self.max_frame {
                frames.push(frame);
            } else {
                cut.push(CutFrame {
                    position: frames.len(),
                    length: frame.len(),
                    head: frame.slice(..self.max_frame),
                });
            }
        }
        let actions = std::mem::take(&mut *self.actions.lock());
        let operator = (!actions.is_empty()).then(|| OperatorFrames {
            right: Right::Admin,
            frames: actions,
            cut: Vec::new(),
            may_have_more: false,
        });
        Popped {
            frames,
            cut,
            operator,
            server: self.server(),
            ..Popped::nothing(owner)
        }
    }

    fn server(&self) -> ServerNumber {
        ServerNumber(self.server.load(SeqCst))
    }

    fn push(&self, frame: Bytes) {
        self.inbox.lock().push_back(frame);
        self.filled.notify_one();
    }

    fn now(&self) -> ServerTime {
        ServerTime(u64::try_from(self.start.elapsed().as_millis()).unwrap())
    }
}

fn broken() -> TransportError {
    TransportError::NotDone("on purpose".to_owned())
}

/// Counts down when it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// An ask for an actor that does not exist.
fn ask(client: u16, id: u64) -> Bytes {
    ask_with(client, id, Vec::new())
}

/// The same with contents.
fn ask_with(client: u16, id: u64, contents: Vec<u8>) -> Bytes {
    ask_by(client, id, ServerTime(u64::MAX), contents)
}

/// The same with a deadline.
fn ask_by(client: u16, id: u64, deadline: ServerTime, contents: Vec<u8>) -> Bytes {
    encoded("missing", client, id, deadline, contents)
}

/// An ask for the actor with this URN.
fn ask_to(urn: &str, client: u16, id: u64, contents: Vec<u8>) -> Bytes {
    encoded(urn, client, id, ServerTime(u64::MAX), contents)
}

fn encoded(urn: &str, client: u16, id: u64, deadline: ServerTime, contents: Vec<u8>) -> Bytes {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&client.to_le_bytes());
    let client = ClientId(bytes);
    Request {
        kind: Kind::Ask,
        origin: Origin { client, id },
        urn,
        message: "M",
        deadline,
        attributes: &Attributes::new(),
        is_direct: false,
        is_left_out: false,
    }
    .encode(contents)
}

#[async_trait]
impl ServerTransport for Bus {
    async fn prepare(&self) -> Result<(), TransportError> {
        sleep(self.preparation).await;
        Ok(())
    }

    async fn acquire(&self, claim: &LeaseClaim) -> Result<Acquired, TransportError> {
        if self.epoch.load(SeqCst) > 0 {
            sleep(MS).await; // so that the loss of the lease is seen
        }
        if let Holder::Another(epoch) = *self.holder.lock() {
            let lease = LeaseRecord {
                epoch,
                versions: (1, 1),
                max_frame: 1,
                length: LEASE,
                serves: true,
            };
            return Ok(Acquired::Held(LeaseHolder {
                lease,
                instance: claim.instance.clone(),
                is_successor: !claim.instance.is_empty(),
            }));
        }
        let mut holder = self.holder.lock();
        let is_contested = matches!(*holder, Holder::Contested);
        if !is_contested {
            *holder = Holder::LastGranted;
        }
        let before = self.epoch.fetch_add(1, SeqCst);
        let epoch = Epoch(before + 1);
        let now = self.now();
        let former = is_contested.then_some(FormerTerm {
            epoch: Epoch(before),
            is_own: true,
            was_released: false,
        });
        Ok(Acquired::Granted(LeaseGrant {
            epoch,
            now,
            server: self.server(),
            former,
        }))
    }

    async fn open(&self, _: Epoch, _: &LeaseClaim) -> Result<bool, TransportError> {
        Ok(true)
    }

    async fn renew(&self, _: Epoch, _: Duration) -> Result<Option<ServerTime>, TransportError> {
        self.renewals.fetch_add(1, SeqCst);
        if self.fails_to_renew {
            return Err(broken());
        }
        sleep(self.renewal).await;
        let is_owned = !matches!(*self.holder.lock(), Holder::Another(_));
        Ok(is_owned.then(|| self.now()))
    }

    async fn stop_serving(
        &self,
        _: Epoch,
        claim: &LeaseClaim,
        wake: Bytes,
    ) -> Result<bool, TransportError> {
        assert!(!claim.serves);
        if self.start.elapsed() < self.deafness {
            return Err(broken());
        }
        self.closed_lease.store(true, SeqCst);
        if self.fails_after_close {
            self.filled.notify_one();
        } else {
            self.push(wake);
        }
        if let Some((delay, frame)) = self.straggler.clone() {
            sleep(delay).await;
            self.push(frame);
        }
        Ok(matches!(
            *self.holder.lock(),
            Holder::LastGranted | Holder::Contested | Holder::Unknown
        ))
    }

    async fn release(&self, _: Epoch) -> Result<bool, TransportError> {
        assert!(self.closed_lease.load(SeqCst), "clients know that it ends");
        self.released.store(true, SeqCst);
        Ok(true)
    }

    async fn give_up(&self, _: Epoch) -> Result<bool, TransportError> {
        self.given_up.store(true, SeqCst);
        Ok(true)
    }

    async fn wake(&self, _: Epoch, wake: Bytes) -> Result<(), TransportError> {
        self.push(wake);
        Ok(())
    }

    async fn pop(
        &self,
        epoch: Epoch,
        _: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let now = self.popping.fetch_add(1, SeqCst) + 1;
        self.most_popping.fetch_max(now, SeqCst);
        let _counted = Counted(&self.popping);
        let count = usize::try_from(count).unwrap();
        let end = Instant::now() + block;
        loop {
            if self.fails_after_close && self.closed_lease.load(SeqCst) {
                return Err(broken());
            }
            let frames: Vec<_> = {
                let mut inbox = self.inbox.lock();
                let count = count.min(inbox.len());
                inbox.drain(..count).collect()
            };
            if !frames.is_empty() || Instant::now() >= end {
                let owner = match *self.holder.lock() {
                    Holder::LastGranted => Ok(Some(epoch)),
                    Holder::None | Holder::Contested => Ok(None),
                    Holder::Another(epoch) => Ok(Some(epoch)),
                    Holder::Unknown => Err(broken()),
                };
                return Ok(self.popped(frames, owner));
            }
            drop(tokio::time::timeout_at(end, self.filled.notified()).await);
        }
    }

    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError> {
        let now = self.publishing.fetch_add(1, SeqCst) + 1;
        self.most_publishing.fetch_max(now, SeqCst);
        sleep(MS).await;
        self.publishing.fetch_sub(1, SeqCst);
        if self.start.elapsed() < self.outage {
            return Err(broken());
        }
        let (_, answers) = decode_reply(&frame.into_bytes()).unwrap();
        let is_of_all_copies = |answer: &&ReceivedAnswer| {
            let refusal = answer.refusal();
            refusal.is_some_and(|refusal| refusal.is_of_all_copies)
        };
        let unexecuted = answers.iter().filter(is_of_all_copies);
        let unexecuted = unexecuted.map(|answer| answer.id);
        self.unexecuted.lock().extend(unexecuted);
        let answers = answers
            .into_iter()
            .map(|answer| (client, answer.id, answer.outcome));
        self.published.lock().extend(answers);
        Ok(Some(1))
    }

    async fn owner(&self) -> Result<Option<Epoch>, TransportError> {
        Err(broken())
    }

    async fn backlog(&self, _: Epoch) -> Result<Backlog, TransportError> {
        Ok(Backlog::default())
    }

    async fn consumer(&self, _: &str) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        Err(broken())
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        unreachable!("these tests read no dead letters")
    }

    fn fleet(&self) -> Arc<dyn FleetMap> {
        unreachable!("these tests have no fleet")
    }

    async fn close(&self) {
        self.closed.store(true, SeqCst);
    }
}

/// Its inbox may have requests that their clients have taken back.
#[tokio::test(start_paused = true)]
async fn requests_of_another_server_are_refused_and_the_next_epoch_begins() {
    let (bus, _system, _proxy) = Bus::new().serve().await;
    bus.push(ask(1, 1));
    sleep(100 * MS).await;
    bus.server.store(1, SeqCst);
    bus.push(ask(1, 1)); // which was taken
    bus.push(ask(1, 2));
    sleep(100 * MS).await;
    assert_eq!(bus.epoch.load(SeqCst), 2);
    bus.push(ask(1, 3));
    sleep(100 * MS).await;
    let published = bus.published.lock();
    let outcomes = published.iter().map(|(_, id, outcome)| (*id, outcome));
    let missing = AskError::ActorNotFound {
        urn: Urn::unchecked("missing"),
    };
    let expected = [
        (1, &Err(missing.clone())),
        (2, &Err(AskError::NoResponder)),
        (3, &Err(missing)),
    ];
    assert!(outcomes.eq(expected), "{published:?}");
    assert_eq!(*bus.unexecuted.lock(), [2]);
    assert_eq!(bus.epoch.load(SeqCst), 2);
}

/// Redis was set back to the data from before the pop of the first one.
#[tokio::test(start_paused = true)]
async fn actions_of_another_server_are_refused() {
    let (bus, _system, proxy) = Bus::new().serve().await;
    sleep(10 * MS).await;
    bus.server.store(1, SeqCst);
    bus.actions.lock().push(ask(1, 1));
    bus.push(ask(2, 2)); // ends the pop
    sleep(100 * MS).await;
    let mut outcomes: Vec<_> = bus.published.lock().clone();
    outcomes.sort_by_key(|(_, id, _)| *id);
    let outcomes = outcomes.into_iter().map(|(_, id, outcome)| (id, outcome));
    let refused = [1, 2].map(|id| (id, Err(AskError::NoResponder)));
    assert!(outcomes.eq(refused));
    assert_eq!(
        (proxy.stats().operators.actions, bus.epoch.load(SeqCst)),
        (0, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn no_request_is_executed_between_the_fence_and_a_late_renewal() {
    let bus = Bus {
        renewal: 3_800 * MS, // the first is sent after 2 s and comes back after 5.8 s
        ..Bus::new()
    };
    let (bus, _system, proxy) = bus.serve().await;
    sleep(5_600 * MS).await;
    bus.push(ask(1, 7));
    sleep(100 * MS).await;
    assert!(bus.published.lock().is_empty());
    sleep(200 * MS).await;
    assert_eq!(bus.published.lock().len(), 1);
    assert!(!bus.released.load(SeqCst));
    proxy.shutdown().await;
    assert!(bus.released.load(SeqCst) && bus.closed.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn cut_requests_are_refused_in_their_order() {
    let bus = Bus {
        max_frame: 200,
        ..Bus::new()
    };
    let (bus, _system, proxy) = bus.serve().await;
    for id in [4, 5, 6, 7, 8] {
        let size = if id % 2 == 0 { 0 } else { 1000 };
        bus.push(ask_with(1, id, vec![7; size]));
    }
    proxy.shutdown().await;
    let published = bus.published.lock().clone();
    let ids: Vec<_> = published.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids, [4, 5, 6, 7, 8]);
    for (_, id, outcome) in published {
        let is_overloaded = matches!(outcome, Err(AskError::Overloaded { .. }));
        assert_eq!(is_overloaded, id % 2 == 1, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_lease_is_released() {
    let bus = Bus {
        renewal: Duration::from_secs(60),
        ..Bus::new()
    };
    let (bus, _system, proxy) = bus.serve().await;
    sleep(5_600 * MS).await;
    bus.push(ask(1, 7));
    let mut state = proxy.connection_state();
    let lost = state.wait_for(|state| !state.is_connected()).await;
    let reason = "the lease: it has run out".to_owned();
    assert_eq!(*lost.unwrap(), ConnectionState::Reconnecting { reason });
    assert_eq!(bus.start.elapsed(), LEASE);
    assert!(
        bus.given_up.load(SeqCst),
        "a late renewal would keep other systems away"
    );
    // No other system has the lease, so it is taken again; requests in between are not executed.
    let back = state.wait_for(ConnectionState::is_connected).await;
    back.unwrap();
    assert_eq!(bus.epoch.load(SeqCst), 2);
    let published = bus.published.lock().clone();
    let [(_, 7, Err(AskError::NoResponder))] = &published[..] else {
        panic!("{published:?}")
    };
    bus.push(ask(1, 8));
    sleep(10 * MS).await;
    assert_eq!(bus.published.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn proxy_ends_when_another_system_serves() {
    let (bus, _system, proxy) = Bus::new().serve().await;
    *bus.holder.lock() = Holder::Another(Epoch(9));
    bus.push(ask(1, 7));
    assert_eq!(proxy.stopped().await, ProxyEnd::LeaseLost);
    // At once: the state of this system's actors is out of date.
    let took = bus.start.elapsed();
    assert!(took < ACQUIRE_INTERVAL, "{took:?}");
    let published = bus.published.lock().clone();
    let [(_, 7, Err(AskError::NoResponder))] = &published[..] else {
        panic!("{published:?}")
    };
    assert_eq!(*proxy.connection_state().borrow(), ConnectionState::Closed);
    sleep(10 * MS).await;
    assert!(bus.closed.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn requests_popped_after_the_bus_lost_the_lease_are_refused() {
    let (bus, system, proxy) = Bus::new().serve().await;
    *bus.holder.lock() = Holder::None; // it came back without its data
    bus.push(ask(1, 7));
    let mut state = proxy.connection_state();
    drop(state.wait_for(|state| !state.is_connected()).await);
    drop(state.wait_for(ConnectionState::is_connected).await);
    bus.push(ask(1, 8));
    sleep(10 * MS).await;
    let published = bus.published.lock().clone();
    let [
        (_, 7, Err(AskError::NoResponder)),
        (_, 8, Err(AskError::ActorNotFound { .. })),
    ] = &published[..]
    else {
        panic!("{published:?}")
    };
    assert!(bus.start.elapsed() < Duration::from_secs(1));
    assert!(system.shutdown().await.is_clean());
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
}

#[tokio::test(start_paused = true)]
async fn requests_during_the_close_of_a_lost_lease_are_refused() {
    let (bus, system, _proxy) = Bus::new().serve().await;
    sleep(MS).await; // a pop waits for requests
    *bus.holder.lock() = Holder::None;
    bus.push(ask(1, 7));
    // The shutdown begins before any task runs.
    assert!(system.shutdown().await.is_clean());
    let published = bus.published.lock().clone();
    let [(_, 7, Err(AskError::NoResponder))] = &published[..] else {
        panic!("{published:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn duplicate_request_is_taken_once() {
    let (bus, _system, _proxy) = Bus::new().serve().await;
    for id in [5, 6, 5, 6, 7] {
        bus.push(ask(1, id));
    }
    bus.push(ask(2, 5));
    sleep(10 * MS).await;
    let ids: Vec<_> = bus.published.lock().iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn request_refused_in_doubt_is_not_executed_when_sent_again() {
    let (bus, _system, _proxy) = Bus::new().serve().await;
    sleep(MS).await; // a pop waits for requests
    *bus.holder.lock() = Holder::Unknown;
    bus.push(ask(1, 7));
    sleep(10 * MS).await;
    *bus.holder.lock() = Holder::LastGranted;
    bus.push(ask(1, 7));
    sleep(10 * MS).await;
    let published = bus.published.lock().clone();
    let [(_, 7, Err(AskError::NoResponder))] = &published[..] else {
        panic!("{published:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn proxy_stops_if_the_lease_is_unknown_at_its_wake() {
    let (bus, system, _proxy) = Bus::new().serve().await;
    sleep(MS).await;
    *bus.holder.lock() = Holder::Unknown;
    let stopped = tokio::time::timeout(DRAIN_TIMEOUT, system.shutdown()).await;
    assert!(stopped.is_ok_and(|report| report.is_clean()));
}

#[tokio::test(start_paused = true)]
async fn lease_is_lost_when_renewals_fail() {
    let bus = Bus {
        fails_to_renew: true,
        ..Bus::new()
    };
    let (bus, _system, proxy) = bus.serve().await;
    let mut state = proxy.connection_state();
    drop(state.wait_for(|state| !state.is_connected()).await);
    let took = bus.start.elapsed();
    assert!(took >= LEASE && took < LEASE + LEASE / RENEWALS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn lease_is_held_while_renewals_are_in_time() {
    let bus = Bus {
        renewal: 1_500 * MS,
        ..Bus::new()
    };
    let (bus, system, proxy) = bus.serve().await;
    drop(tokio::time::timeout(Duration::from_secs(600), proxy.stopped()).await);
    assert!(!bus.released.load(SeqCst));
    assert!(system.shutdown().await.is_clean());
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
    assert!(bus.released.load(SeqCst) && bus.closed.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn replies_wait_until_the_bus_is_back() {
    let bus = Bus {
        outage: Duration::from_secs(1),
        ..Bus::new()
    };
    let (bus, _system, _proxy) = bus.serve().await;
    for id in 0..500 {
        bus.push(ask(1, id));
        sleep(MS).await;
    }
    sleep(Duration::from_secs(2)).await;
    let mut ids: Vec<_> = bus.published.lock().iter().map(|(_, id, _)| *id).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..500));
}

#[tokio::test(start_paused = true)]
async fn frames_of_many_clients_are_published_a_few_at_a_time() {
    let (bus, _system, proxy) = Bus::new().serve().await;
    (0..5_000).for_each(|client| bus.push(ask(client, 1)));
    sleep(Duration::from_secs(1)).await;
    proxy.shutdown().await;
    assert_eq!(bus.published.lock().len(), 5_000);
    assert!(bus.most_publishing.load(SeqCst) <= 256);
}

#[tokio::test(start_paused = true)]
async fn request_just_after_the_close_is_refused() {
    let bus = Bus {
        straggler: Some((5 * MS, ask(1, 7))),
        ..Bus::new()
    };
    let (bus, system, _proxy) = bus.serve().await;
    assert!(system.shutdown().await.is_clean());
    let published = bus.published.lock().clone();
    let [(_, 7, Err(AskError::NoResponder))] = &published[..] else {
        panic!("{published:?}")
    };
    assert!(bus.start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn proxy_far_from_its_bus_has_several_pops_and_stops_at_once() {
    let (bus, system, _proxy) = Bus::new().serve().await;
    for id in 0..3 {
        bus.push(ask(1, id));
        sleep(5 * MS).await; // publishing the answer takes a millisecond: a far bus
    }
    assert_eq!(bus.most_popping.load(SeqCst), 4);
    let began = Instant::now();
    assert!(system.shutdown().await.is_clean());
    assert!(began.elapsed() < 200 * MS, "{:?}", began.elapsed());
    assert_eq!(bus.published.lock().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn proxy_stops_if_its_wake_is_lost() {
    let bus = Bus {
        fails_after_close: true,
        ..Bus::new()
    };
    let (bus, system, proxy) = bus.serve().await;
    sleep(MS).await;
    assert!(system.shutdown().await.is_clean());
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
    assert!(bus.start.elapsed() < Duration::from_secs(2));
    assert!(bus.closed.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn system_forgets_proxies_that_have_ended() {
    let (system, config) = (ActorSystem::new(), Config::memory());
    for _ in 0..10 {
        let bus = Arc::new(Bus::new());
        let proxy = serve(&system, &config, bus, Arc::default()).await;
        let proxy = proxy.unwrap();
        proxy.shutdown().await;
    }
    assert_eq!(system.core().services(), 1);
}

#[tokio::test(start_paused = true)]
async fn contested_leases_are_taken_less_and_less_often() {
    let (bus, _system, proxy) = Bus::new().serve().await;
    *bus.holder.lock() = Holder::Contested;
    sleep(Duration::from_secs(300)).await;
    let terms = bus.epoch.load(SeqCst);
    // Each pause is random: a half of its length at least. With none there would be 150.
    assert!((5..=16).contains(&terms), "{terms}");
    // One primary is left.
    *bus.holder.lock() = Holder::LastGranted;
    sleep(Duration::from_secs(63)).await;
    bus.push(ask(1, 7));
    sleep(10 * MS).await;
    let served = bus.published.lock().last().cloned();
    assert!(
        matches!(served, Some((_, 7, Err(AskError::ActorNotFound { .. })))),
        "{served:?}"
    );
    // A stop does not wait for the pause.
    *bus.holder.lock() = Holder::Contested;
    sleep(Duration::from_secs(100)).await;
    let start = Instant::now();
    proxy.shutdown().await;
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn clock_of_the_bus_is_read_without_the_preparation_of_an_acquisition() {
    let bus = Bus {
        preparation: 400 * MS,
        ..Bus::new()
    };
    let (bus, _system, _proxy) = bus.serve().await;
    let deadline = ServerTime(bus.now().0 + 100);
    bus.push(ask_by(1, 7, deadline, Vec::new()));
    sleep(10 * MS).await;
    let published = bus.published.lock().clone();
    let [(_, 7, Err(AskError::ActorNotFound { .. }))] = &published[..] else {
        panic!("{published:?}")
    };
}
