//! The links of a client to the members of a fleet, over the bus in memory, in paused time.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use futures_util::future::join_all;

use super::clients::{GetNode, killed, sharing};
use super::*;
use crate::bus::config::TransportLayer;
use crate::bus::keys::Keys;
use crate::bus::transport::fleet::{FleetView, MapVersion, Members, NameOwners};
use crate::bus::transport::stream::{NewEntry, StreamProducer};
use crate::bus::transport::{
    ClientTransport, Copies, Enqueued, Epoch, Frame, LeaseRecord, OperatorTransport, ReplySink,
    ServerTime, ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;

/// The calls of clients to the bus.
#[derive(Debug, Default)]
struct CallCounts {
    leases: AtomicUsize,
    look_ups: AtomicUsize,
}

/// Counts the calls of a client.
#[derive(Debug, Default)]
struct CountingLayer(Arc<CallCounts>);

struct CountingClient {
    inner: Arc<dyn ClientTransport>,
    counts: Arc<CallCounts>,
}

impl TransportLayer for CountingLayer {
    fn server(&self, inner: Arc<dyn ServerTransport>) -> Arc<dyn ServerTransport> {
        inner
    }

    fn client(
        &self,
        _: ClientId,
        replies: Arc<dyn ReplySink>,
        open: &dyn Fn(Arc<dyn ReplySink>) -> Arc<dyn ClientTransport>,
    ) -> Arc<dyn ClientTransport> {
        Arc::new(CountingClient {
            inner: open(replies),
            counts: self.0.clone(),
        })
    }

    fn operator(&self, inner: Arc<dyn OperatorTransport>) -> Arc<dyn OperatorTransport> {
        inner
    }
}

#[async_trait]
impl ClientTransport for CountingClient {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        self.counts.leases.fetch_add(1, SeqCst);
        self.inner.lease(node).await
    }

    async fn enqueue(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError> {
        self.inner.enqueue(node, epoch, frames).await
    }

    async fn take_back(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        copies: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        self.inner.take_back(node, epoch, frames, copies).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl StreamProducer for CountingClient {
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        self.inner.append(messages).await
    }

    async fn len(&self) -> Result<u64, TransportError> {
        self.inner.len().await
    }
}

#[async_trait]
impl FleetView for CountingClient {
    async fn version(&self) -> Result<MapVersion, TransportError> {
        self.inner.version().await
    }

    async fn members(&self) -> Result<Members, TransportError> {
        self.inner.members().await
    }

    async fn look_up(&self, names: &[Urn]) -> Result<NameOwners, TransportError> {
        self.counts.look_ups.fetch_add(1, SeqCst);
        self.inner.look_up(names).await
    }
}

/// A client whose calls are counted.
async fn counted(config: &Config) -> (ProxyClient, Arc<CallCounts>) {
    let layer = CountingLayer::default();
    let counts = layer.0.clone();
    let mut config = config.clone();
    config.faults = Some(Arc::new(layer));
    (ProxyClient::connect(&config).await.unwrap(), counts)
}

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
struct Note;

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
struct WaitForCancel;

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
#[message(response = serde_bytes::ByteBuf)]
struct GetLarge;

#[derive(Actor, Clone, Default)]
struct Listener {
    notes: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

#[handlers]
impl Listener {
    #[handler]
    fn large(&mut self, _: GetLarge) -> serde_bytes::ByteBuf {
        serde_bytes::ByteBuf::from(vec![7; 256 << 10])
    }

    #[handler]
    fn note(&mut self, _: Note) {
        self.notes.fetch_add(1, SeqCst);
    }

    #[handler]
    async fn wait(&mut self, _: WaitForCancel, ctx: &mut Context<Self>) {
        self.begun.fetch_add(1, SeqCst);
        ctx.cancelled().await;
        self.cancelled.fetch_add(1, SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_up_while_one_member_serves() {
    let config = Config::memory().fleet();
    let _system = sharing(&config, "a", Duration::ZERO).await;
    let (client, counts) = counted(&config).await;
    for _ in 0..10 {
        assert!(client.ask("clerk", GetNode).await.is_ok());
        sleep(100 * MS).await;
    }
    assert_eq!(counts.look_ups.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn large_replies_of_each_node_are_confirmed_to_it() {
    const COUNT: usize = 64; // 16 MiB: a system sends 4 MiB ahead
    for is_fleet in [true, false] {
        let base = Config::memory();
        let mut systems = Vec::new();
        for node in ["main", "other"] {
            let system = ActorSystem::new();
            let spawn = system.spawn(Listener::default()).urn("listener").shared();
            spawn.await.unwrap();
            let config = if is_fleet {
                base.clone().fleet().instance(node)
            } else {
                base.clone().node(node)
            };
            start_proxy(&system, &config).await.unwrap();
            systems.push(system);
        }
        let config = if is_fleet { base.fleet() } else { base };
        let client = ProxyClient::connect(&config).await.unwrap();
        let start = Instant::now();
        for node in [None, Some("main"), Some("other")] {
            let client = node.map_or_else(|| client.clone(), |node| client.node(node));
            let asks = (0..COUNT).map(|_| client.ask("listener", GetLarge));
            for answer in join_all(asks).await {
                assert_eq!(answer.map(|bytes| bytes.len()), Ok(256 << 10));
            }
        }
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_at_once() {
    let config = Config::memory().fleet();
    let names: Vec<_> = (0..50).map(|number| format!("desk/{number}")).collect();
    let system = ActorSystem::new();
    for name in &names {
        let desk = system.spawn(Listener::default()).urn(name.as_str());
        desk.await.unwrap();
    }
    start_proxy(&system, &config).await.unwrap();
    let _other = sharing(&config, "b", Duration::ZERO).await;
    sleep(SECOND).await;
    let (client, counts) = counted(&config).await;
    let start = Instant::now();
    for name in &names {
        client.ask(name.as_str(), GetLarge).await.unwrap();
    }
    assert!(start.elapsed() < 100 * MS, "{:?}", start.elapsed());
    assert_eq!(counts.look_ups.load(SeqCst), names.len());
    // Names of simultaneous asks share a look-up.
    let (client, counts) = counted(&config).await;
    let asks = names.iter().map(|name| client.ask(name.as_str(), GetLarge));
    assert!(join_all(asks).await.iter().all(Result::is_ok));
    assert!(counts.look_ups.load(SeqCst) <= 2);
}

#[tokio::test(start_paused = true)]
async fn request_after_a_silence_reads_no_lease_first() {
    let config = Config::memory().fleet();
    let mut systems = Vec::new();
    for node in ["a", "b"] {
        systems.push(sharing(&config, node, Duration::ZERO).await);
    }
    let (client, counts) = counted(&config).await;
    let ask_all = async || {
        let asks = (0..20).map(|_| client.ask("clerk", GetNode));
        assert!(join_all(asks).await.iter().all(Result::is_ok));
    };
    ask_all().await;
    sleep(60 * SECOND).await;
    let before = counts.leases.load(SeqCst);
    ask_all().await;
    assert_eq!(counts.leases.load(SeqCst), before);
    // The last known epochs are over: the requests are taken back, and reach the new ones.
    for (system, node) in systems.iter_mut().zip(["a", "b"]) {
        assert!(system.shutdown().await.is_clean());
        *system = sharing(&config, node, Duration::ZERO).await;
    }
    ask_all().await;
}

#[tokio::test(start_paused = true)]
async fn cancel_follows_a_request_to_another_member() {
    let config = Config::memory().fleet();
    let _dead = killed(&config, &["listener"]).await;
    let (system, listener) = (ActorSystem::new(), Listener::default());
    let spawn = system.spawn(listener.clone()).mailbox(64);
    spawn.urn("listener").shared().await.unwrap();
    start_proxy(&system, &config.clone().instance("a"))
        .await
        .unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    // About half of them go to the dead member first, and are taken back.
    for number in 1..=10 {
        let ask = client.ask("listener", WaitForCancel).timeout(60 * SECOND);
        let asked = tokio::spawn(std::future::IntoFuture::into_future(ask));
        while listener.begun.load(SeqCst) < number {
            sleep(100 * MS).await;
        }
        asked.abort();
        while listener.cancelled.load(SeqCst) < number {
            sleep(100 * MS).await;
        }
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn tell_follows_a_name_that_has_moved() {
    let config = Config::memory().fleet();
    let listener = Listener::default();
    let mut systems = Vec::new();
    for node in ["a", "b"] {
        let system = ActorSystem::new();
        system
            .spawn(listener.clone())
            .urn("listener")
            .await
            .unwrap();
        let config = config.clone().instance(node);
        start_proxy(&system, &config).await.unwrap();
        systems.push(system);
        sleep(SECOND).await;
    }
    let client = ProxyClient::connect(&config).await.unwrap();
    client.tell("listener", Note).await.unwrap();
    assert!(systems[0].shutdown().await.is_clean());
    let next = systems[1].actor::<Listener>("listener").unwrap();
    while next.listing() != Listing::Listed {
        sleep(10 * MS).await;
    }
    client.tell("listener", Note).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(listener.notes.load(SeqCst), 2);
}
