//! A client over a bus that does what a test says.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::*;
use crate::bus::client::pending::{Batch, MAX_REQUESTS};
use crate::bus::protocol::{Answer, Received, encode_reply};
use crate::bus::transport::stream::StreamProducer;
use crate::bus::transport::{Enqueued, Epoch, TransportError};
use crate::error::Delivered;
use crate::message::{ActorMessage, WireCodec};

const MS: Duration = Duration::from_millis(1);

/// The id of a client's first request; they wrap around.
const FIRST: u64 = u64::MAX - 5;

fn lease(epoch: u64) -> Lease {
    Lease {
        epoch: Epoch(epoch),
        versions: (1, 1),
        max_frame: 1 << 20,
    }
}

/// Takes batches, each of which is on its way for a while.
struct Far {
    /// How long a batch takes to arrive, and again to be confirmed.
    way: Duration,
    /// The epoch of the moment.
    epoch: AtomicU64,
    /// What has arrived in time, as numbers from 0 on.
    taken: Mutex<Vec<u64>>,
    /// What of that was given up, in the same numbers.
    cancelled: Mutex<Vec<u64>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Far {
    fn new(way: Duration) -> Arc<Self> {
        Arc::new(Self {
            way,
            epoch: AtomicU64::new(1),
            taken: Mutex::default(),
            cancelled: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    async fn travel(&self) {
        if self.way.is_zero() {
            tokio::task::yield_now().await; // a timer would take a millisecond
        } else {
            sleep(self.way).await;
        }
    }

    fn taken(&self) -> Vec<u64> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.clone()
    }

    fn cancelled(&self) -> Vec<u64> {
        let cancelled = self.cancelled.lock();
        cancelled.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ClientTransport for Far {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        Ok((Some(lease(self.epoch.load(SeqCst))), BusTime(1)))
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        let now = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most_under_way.fetch_max(now, SeqCst);
        self.travel().await;
        let lease = lease(self.epoch.load(SeqCst));
        if epoch == lease.epoch {
            for frame in &frames {
                let request = Received::decode(frame).unwrap();
                let place = match request.kind {
                    Kind::Cancel => &self.cancelled,
                    _ => &self.taken,
                };
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                place.push(request.origin.id.wrapping_sub(FIRST));
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

    async fn close(&self) {}
}

impl StreamProducer for Far {}

/// Takes a batch, and never says that it has.
struct Stalled;

#[async_trait]
impl ClientTransport for Stalled {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        Ok((Some(lease(1)), BusTime(1)))
    }

    async fn enqueue(&self, _: Epoch, _: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        pending().await
    }

    async fn close(&self) {}
}

impl StreamProducer for Stalled {}

async fn over(transport: Arc<dyn ClientTransport>) -> ProxyClient {
    let book = Arc::new(Book::new(FIRST));
    let (config, id) = (Config::memory(), ClientId([1; 16]));
    ProxyClient::over(transport, &config, id, book, Arc::default())
        .await
        .unwrap()
}

struct Nothing;

impl ActorMessage for Nothing {
    type Response = ();
    const NAME: &'static str = "Nothing";
    const WIRE: Option<WireCodec<Self>> = Some(Self::CODEC);
}

impl RemoteMessage for Nothing {
    const CODEC: WireCodec<Self> = WireCodec {
        encode: |_| Ok(Vec::new()),
        decode: |_| Ok(Self),
        encode_response: |()| Ok(Vec::new()),
        decode_response: |_| Ok(()),
    };
}

#[tokio::test]
async fn impatient_askers_do_not_fill_the_outbox_of_a_slow_bus() {
    let client = over(Arc::new(Stalled)).await;
    let mut first = pin!(client.ask("somebody", Nothing));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    tokio::task::yield_now().await; // the batch is under way, and stays so
    for _ in 0..5 * MAX_REQUESTS {
        let ask = pin!(client.ask("somebody", Nothing));
        assert!(ask.poll(&mut cx).is_pending());
    }
    assert_eq!(client.in_flight(), 1);
    assert!(client.shared().outbox.len() <= 2 * MAX_REQUESTS);
    client.shutdown().await;
    assert_eq!(
        first.as_mut().poll(&mut cx),
        Poll::Ready(Err(AskError::Closed))
    );
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_gives_up_while_it_sends_does_not_take_its_batch_along() {
    let bus = Far::new(5 * MS);
    let client = over(bus.clone()).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut alone = Box::pin(client.ask("somebody", Nothing));
    assert!(alone.as_mut().poll(&mut cx).is_pending());
    // It is given to the connection by now, without any task of the client's.
    assert_eq!(bus.under_way.load(SeqCst), 1);
    let mut behind = Box::pin(client.tell("somebody", Nothing));
    assert!(behind.as_mut().poll(&mut cx).is_pending());
    drop(alone);
    assert!(behind.await.is_ok());
    assert_eq!(bus.taken(), [0, 1]);
    assert_eq!(bus.most_under_way.load(SeqCst), 1);
    assert_eq!(client.in_flight(), 0);
    // The way is free again for the next who is alone.
    assert!(client.tell("somebody", Nothing).await.is_ok());
    assert_eq!(bus.taken(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_is_not_polled_again_holds_nobody_up() {
    let bus = Far::new(5 * MS);
    let client = over(bus.clone()).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut alone = Box::pin(client.tell("somebody", Nothing));
    assert!(alone.as_mut().poll(&mut cx).is_pending());
    let patience = client.tell("somebody", Nothing).timeout(100 * MS);
    assert!(patience.await.is_ok());
    assert_eq!(bus.taken(), [0, 1]);
    assert!(alone.await.is_ok());
    // Nor does it keep the client from its end.
    let mut last = Box::pin(client.ask("somebody", Nothing));
    assert!(last.as_mut().poll(&mut cx).is_pending());
    client.shutdown().await;
    sleep(20 * MS).await;
    assert!(client.shared().outbox.is_idle());
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_is_answered_before_its_batch_is_confirmed_leaves_it_to_end() {
    let bus = Far::new(5 * MS);
    let client = over(bus.clone()).await;
    let ask = client.ask("somebody", Nothing).timeout(7 * MS);
    assert!(matches!(ask.await, Err(AskError::Timeout { .. })));
    assert_eq!(bus.under_way.load(SeqCst), 1);
    sleep(4 * MS).await;
    assert_eq!(bus.under_way.load(SeqCst), 0);
    assert!(client.shared().outbox.is_idle());
}

/// Sends many batches at once; whether all were accepted.
async fn tell_many(client: &ProxyClient, count: u64) -> bool {
    let tells = (0..count).map(|_| client.tell("somebody", Nothing).into_future());
    join_all(tells).await.iter().all(Result::is_ok)
}

#[tokio::test(start_paused = true)]
async fn a_near_bus_gets_one_batch_at_a_time_and_a_far_one_four() {
    for (way, most) in [(Duration::ZERO, 1), (MS, 4)] {
        let bus = Far::new(way);
        let client = over(bus.clone()).await;
        // The first batch says how far it is.
        assert!(client.tell("somebody", Nothing).await.is_ok());
        assert!(tell_many(&client, 5_000).await);
        assert_eq!(bus.most_under_way.load(SeqCst), most, "{way:?}");
        assert!(bus.taken().into_iter().eq(0..=5_000));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_stay_in_order_when_another_epoch_begins_while_several_batches_are_under_way() {
    let bus = Far::new(2 * MS);
    let client = over(bus.clone()).await;
    assert!(client.tell("somebody", Nothing).await.is_ok());
    let change = async {
        // Some of them have arrived then, some are on their way, and some wait.
        sleep(5 * MS).await;
        bus.epoch.store(2, SeqCst);
    };
    let (all, ()) = tokio::join!(tell_many(&client, 8_000), change);
    assert!(all);
    assert!(bus.taken().into_iter().eq(0..=8_000));
}

#[test]
fn a_client_ends_with_its_runtime() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (own, other) = (runtime(), runtime());
    let client = own.block_on(over(Arc::new(Stalled)));
    let asker = client.clone();
    let ask = other.spawn(async move { asker.ask("somebody", Nothing).await });
    while client.in_flight() == 0 {
        std::thread::yield_now();
    }
    drop(own);
    assert_eq!(other.block_on(ask).unwrap(), Err(AskError::Closed));
    let late = other.block_on(async { client.ask("somebody", Nothing).await });
    assert_eq!(late, Err(AskError::Closed));
}

#[tokio::test(start_paused = true)]
async fn only_an_ask_that_was_sent_and_has_not_ended_is_cancelled() {
    let bus = Far::new(5 * MS);
    let client = over(bus.clone()).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut begun = |mut ask: Pin<Box<RemoteAsk<Nothing>>>| {
        assert!(ask.as_mut().poll(&mut cx).is_pending());
        ask
    };
    let ask = || Box::pin(client.ask("somebody", Nothing));
    let sent = begun(ask()); // 0, alone
    let waiting = begun(ask()); // 1, while that is under way
    drop(waiting); // never given to the connection
    let patience = 15 * MS;
    let late = client.ask("somebody", Nothing).timeout(patience); // 2, sent after 10 ms
    assert!(matches!(late.await, Err(AskError::Timeout { .. })));
    assert_eq!(bus.under_way.load(SeqCst), 1);
    let mut told = Box::pin(client.tell("somebody", Nothing)); // 3
    let patience = tokio::time::timeout(10 * MS, told.as_mut());
    assert!(patience.await.is_err());
    assert_eq!(bus.under_way.load(SeqCst), 1);
    drop(told); // given to the connection
    drop(sent);
    drop(ask()); // never polled
    sleep(50 * MS).await;
    assert_eq!(bus.taken(), [0, 2, 3]);
    assert_eq!(bus.cancelled(), [0]);
    assert_eq!(client.in_flight(), 0);
    assert!(client.shared().outbox.is_idle());
}

#[tokio::test(start_paused = true)]
async fn cancels_of_many_travel_together_and_behind_their_asks() {
    let bus = Far::new(MS);
    let client = over(bus.clone()).await;
    assert!(client.tell("somebody", Nothing).await.is_ok()); // says how far it is
    let asks: Vec<_> = (0..1_000)
        .map(|_| tokio::spawn(client.ask("somebody", Nothing)))
        .collect();
    sleep(20 * MS).await;
    assert_eq!(bus.taken().len(), 1_001);
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    let next = client.tell("somebody", Nothing);
    assert!(next.await.is_ok());
    sleep(20 * MS).await;
    let mut cancelled = bus.cancelled();
    cancelled.sort_unstable();
    assert!(cancelled.into_iter().eq(1..=1_000));
}

#[tokio::test]
async fn what_was_given_up_does_not_fill_the_outbox_of_a_stalled_bus_nor_wake_a_closed_client() {
    let client = over(Arc::new(Stalled)).await;
    let shared = client.shared();
    for _ in 0..5 {
        let book = || shared.in_flight();
        let ids: Vec<u64> = (0..MAX_REQUESTS)
            .map(|_| {
                let id = book().check(1).unwrap();
                drop(book().insert(id, Bytes::new(), 1, false));
                id
            })
            .collect();
        let frames = vec![Bytes::new(); ids.len()];
        let mut batch = Batch { ids, frames };
        book().give(&mut batch, Epoch(1));
        for id in batch.ids {
            shared.abandon(id, Instant::now() + MS);
        }
    }
    assert_eq!(client.in_flight(), 0);
    assert_eq!(shared.outbox.cancels(), MAX_REQUESTS);

    let mut cx = Context::from_waker(Waker::noop());
    let mut ask = Box::pin(client.ask("somebody", Nothing));
    assert!(ask.as_mut().poll(&mut cx).is_pending());
    client.shutdown().await;
    let before = shared.outbox.cancels();
    drop(ask);
    assert_eq!(shared.outbox.cancels(), before);
}

/// An owner that is being succeeded refuses what comes, before the sender hears of the successor.
struct Succeeded {
    book: Arc<Book>,
    taken: AtomicUsize,
}

#[async_trait]
impl ClientTransport for Succeeded {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        Ok((Some(lease(1)), BusTime(1)))
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        if epoch == Epoch(1) {
            let refused = Answer::new(FIRST, Err(AskError::NoResponder));
            self.book.receive(encode_reply(epoch, &[refused]));
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

    async fn close(&self) {}
}

impl StreamProducer for Succeeded {}

#[tokio::test]
async fn what_the_owner_before_refused_is_not_sent_to_the_next() {
    let book = Arc::new(Book::new(FIRST));
    let bus = Arc::new(Succeeded {
        book: book.clone(),
        taken: AtomicUsize::new(0),
    });
    let (config, id) = (Config::memory(), ClientId([1; 16]));
    let client = ProxyClient::over(bus.clone(), &config, id, book, Arc::default());
    let client = client.await.unwrap();
    let first = client.ask("somebody", Nothing);
    let second = client.tell("somebody", Nothing);
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first, Err(AskError::NoResponder));
    assert!(second.is_ok());
    assert_eq!(bus.taken.load(SeqCst), 1);
}

/// Loses its connection with each batch, and its owner meanwhile.
#[derive(Default)]
struct Forgetful {
    epoch: AtomicU64,
    taken_back: Mutex<Vec<(Epoch, usize)>>,
}

#[async_trait]
impl ClientTransport for Forgetful {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        Ok((Some(lease(self.epoch.load(SeqCst))), BusTime(1)))
    }

    async fn enqueue(&self, _: Epoch, _: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        sleep(10 * MS).await;
        self.epoch.fetch_add(1, SeqCst);
        Err(TransportError::Unknown("lost".to_owned()))
    }

    async fn take_back(&self, epoch: Epoch, frames: Vec<Bytes>) {
        let mut taken_back = self.taken_back.lock().unwrap();
        taken_back.push((epoch, frames.len()));
    }

    async fn close(&self) {}
}

impl StreamProducer for Forgetful {}

#[tokio::test(start_paused = true)]
async fn what_may_lie_with_an_owner_that_is_gone_is_taken_back_also_if_nobody_waits() {
    let bus = Arc::new(Forgetful::default());
    let client = over(bus.clone()).await;
    let impatient = client.ask("somebody", Nothing).timeout(MS).await;
    let delivered = Delivered::Unknown;
    assert_eq!(impatient, Err(AskError::Timeout { delivered }));
    sleep(20 * MS).await;
    let patient = client.ask("somebody", Nothing).await;
    assert_eq!(patient, Err(AskError::Disconnected { delivered }));
    tokio::task::yield_now().await;
    let taken_back = bus.taken_back.lock().unwrap().clone();
    assert_eq!(taken_back, [(Epoch(0), 1), (Epoch(1), 1)]);
}
