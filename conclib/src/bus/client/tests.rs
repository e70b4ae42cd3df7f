//! A client over a bus that behaves as a test says.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::*;
use crate::bus::client::pending::Batch;
use crate::bus::protocol::{Kind, MAX_REQUESTS};
use crate::bus::transport::{Epoch, Frame};
use crate::error::{AskError, Delivered};
use crate::message::{ActorMessage, WireCodec};
use crate::{ActorSystem, start_proxy};
use bus::{DelayedBus, LosingBus, SilentBus, StalledBus, SucceededBus};

mod bus;
mod nodes;

const MS: Duration = Duration::from_millis(1);

/// The id of a client's first request; ids wrap around.
const FIRST: u64 = u64::MAX - 5;

async fn over(transport: Arc<dyn ClientTransport>) -> ProxyClient {
    let replies = Arc::new(ReplyDispatcher::new(FIRST, Arc::default()));
    let (config, id) = (Config::memory(), ClientId([1; 16]));
    ProxyClient::over(transport, &config, id, replies, Arc::default())
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
async fn ended_requests_do_not_fill_the_queue_of_a_slow_bus() {
    let client = over(Arc::new(StalledBus)).await;
    let mut first = pin!(client.ask("actor", Nothing));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    tokio::task::yield_now().await; // the batch is under way, and stays so
    for _ in 0..5 * MAX_REQUESTS {
        let ask = pin!(client.ask("actor", Nothing));
        assert!(ask.poll(&mut cx).is_pending());
    }
    assert_eq!(client.in_flight(), 1);
    assert!(client.shared().link.queue.len() <= 2 * MAX_REQUESTS);
    client.shutdown().await;
    assert_eq!(
        first.as_mut().poll(&mut cx),
        Poll::Ready(Err(AskError::Closed))
    );
}

#[tokio::test(start_paused = true)]
async fn message_that_may_be_stored_is_a_timeout_and_not_unavailable() {
    let client = over(Arc::new(StalledBus)).await;
    let told = client.tell("actor", Nothing).durable();
    let told = told.store_timeout(100 * MS).await;
    let delivered = Delivered::Unknown;
    assert_eq!(told, Err(AskError::Timeout { delivered }));
}

#[tokio::test(start_paused = true)]
async fn dropping_an_asker_does_not_drop_its_batch() {
    let bus = DelayedBus::new(5 * MS);
    let client = over(bus.clone()).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut alone = Box::pin(client.ask("actor", Nothing));
    assert!(alone.as_mut().poll(&mut cx).is_pending());
    // The batch is given to the connection by now, without a task of the client.
    assert_eq!(bus.under_way.load(SeqCst), 1);
    let mut behind = Box::pin(client.tell("actor", Nothing));
    assert!(behind.as_mut().poll(&mut cx).is_pending());
    drop(alone);
    assert!(behind.await.is_ok());
    assert_eq!(bus.taken(), [0, 1]);
    assert_eq!(bus.most_under_way.load(SeqCst), 1);
    assert_eq!(client.in_flight(), 0);
    // The next request is alone again.
    assert!(client.tell("actor", Nothing).await.is_ok());
    assert_eq!(bus.taken(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn asker_that_is_not_polled_again_does_not_block_the_queue() {
    let bus = DelayedBus::new(5 * MS);
    let client = over(bus.clone()).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut alone = Box::pin(client.tell("actor", Nothing));
    assert!(alone.as_mut().poll(&mut cx).is_pending());
    let next = client.tell("actor", Nothing).timeout(100 * MS);
    assert!(next.await.is_ok());
    assert_eq!(bus.taken(), [0, 1]);
    assert!(alone.await.is_ok());
    // Nor does it block the end of the client.
    let mut last = Box::pin(client.ask("actor", Nothing));
    assert!(last.as_mut().poll(&mut cx).is_pending());
    client.shutdown().await;
    sleep(20 * MS).await;
    assert!(client.shared().link.queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn batch_of_an_asker_that_timed_out_runs_to_its_end() {
    let bus = DelayedBus::new(5 * MS);
    let client = over(bus.clone()).await;
    let ask = client.ask("actor", Nothing).timeout(7 * MS);
    assert!(matches!(ask.await, Err(AskError::Timeout { .. })));
    assert_eq!(bus.under_way.load(SeqCst), 1);
    sleep(4 * MS).await;
    assert_eq!(bus.under_way.load(SeqCst), 0);
    assert!(client.shared().link.queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn responder_of_a_silent_bus_is_waited_for_as_long_as_an_ask() {
    let client = over(Arc::new(SilentBus::default())).await;
    let start = Instant::now();
    let delivered = Delivered::No;
    assert_eq!(
        client.responder().await,
        Err(AskError::Timeout { delivered })
    );
    assert_eq!(start.elapsed(), client.shared().timeout);
    let mut waits = Box::pin(client.responder());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    client.shutdown().await;
    assert_eq!(waits.await, Err(AskError::Closed));
}

#[tokio::test(start_paused = true)]
async fn deadline_only_shortens_the_wait_also_of_a_sent_ask() {
    let client = over(Arc::new(StalledBus)).await;
    let ask = || client.ask("actor", Nothing).timeout(100 * MS);
    let start = Instant::now();
    let later = ask().deadline(start + 300 * MS);
    assert!(matches!(later.await, Err(AskError::Timeout { .. })));
    assert_eq!(start.elapsed(), 100 * MS);
    let mut sent = ask();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut sent).poll(&mut cx).is_pending());
    let sent = sent.deadline(start + 150 * MS).deadline(None::<Instant>);
    assert!(matches!(sent.await, Err(AskError::Timeout { .. })));
    assert_eq!(start.elapsed(), 150 * MS);
}

/// Sends many batches at once; true if all were accepted.
async fn tell_many(client: &ProxyClient, count: u64) -> bool {
    let tells = (0..count).map(|_| client.tell("actor", Nothing).into_future());
    join_all(tells).await.iter().all(Result::is_ok)
}

#[tokio::test(start_paused = true)]
async fn near_bus_gets_one_batch_at_a_time_and_a_far_one_four() {
    for (delay, most) in [(Duration::ZERO, 1), (MS, 4)] {
        let bus = DelayedBus::new(delay);
        let client = over(bus.clone()).await;
        // The first batch measures the round trip.
        assert!(client.tell("actor", Nothing).await.is_ok());
        assert!(tell_many(&client, 5_000).await);
        assert_eq!(bus.most_under_way.load(SeqCst), most, "{delay:?}");
        assert!(bus.taken().into_iter().eq(0..=5_000));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_stay_in_order_when_an_epoch_begins_between_batches() {
    let bus = DelayedBus::new(2 * MS);
    let client = over(bus.clone()).await;
    assert!(client.tell("actor", Nothing).await.is_ok());
    let change = async {
        // Some requests have arrived then, some are on their way, and some wait.
        sleep(5 * MS).await;
        bus.epoch.store(2, SeqCst);
    };
    let (all, ()) = tokio::join!(tell_many(&client, 8_000), change);
    assert!(all);
    assert!(bus.taken().into_iter().eq(0..=8_000));
}

#[test]
fn client_ends_with_its_runtime() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (own, other) = (runtime(), runtime());
    let client = own.block_on(over(Arc::new(StalledBus)));
    let asker = client.clone();
    let ask = other.spawn(async move { asker.ask("actor", Nothing).await });
    while client.in_flight() == 0 {
        std::thread::yield_now();
    }
    drop(own);
    assert_eq!(other.block_on(ask).unwrap(), Err(AskError::Closed));
    let late = other.block_on(async { client.ask("actor", Nothing).await });
    assert_eq!(late, Err(AskError::Closed));
}

#[tokio::test(start_paused = true)]
async fn only_an_ask_that_was_sent_and_has_not_ended_is_cancelled() {
    let bus = DelayedBus::new(5 * MS);
    let client = over(bus.clone()).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut begun = |mut ask: Pin<Box<RemoteAsk<Nothing>>>| {
        assert!(ask.as_mut().poll(&mut cx).is_pending());
        ask
    };
    let ask = || Box::pin(client.ask("actor", Nothing));
    let sent = begun(ask()); // 0, alone
    let waiting = begun(ask()); // 1, while that is under way
    drop(waiting); // never given to the connection
    let patience = 15 * MS;
    let late = client.ask("actor", Nothing).timeout(patience); // 2, sent after 10 ms
    assert!(matches!(late.await, Err(AskError::Timeout { .. })));
    assert_eq!(bus.under_way.load(SeqCst), 1);
    let mut told = Box::pin(client.tell("actor", Nothing)); // 3
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
    assert!(client.shared().link.queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn cancels_travel_together_and_behind_their_asks() {
    let bus = DelayedBus::new(MS);
    let client = over(bus.clone()).await;
    assert!(client.tell("actor", Nothing).await.is_ok()); // measures the round trip
    let asks: Vec<_> = (0..1_000)
        .map(|_| tokio::spawn(client.ask("actor", Nothing)))
        .collect();
    sleep(20 * MS).await;
    assert_eq!(bus.taken().len(), 1_001);
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    let next = client.tell("actor", Nothing);
    assert!(next.await.is_ok());
    sleep(20 * MS).await;
    let mut cancelled = bus.cancelled();
    cancelled.sort_unstable();
    assert!(cancelled.into_iter().eq(1..=1_000));
}

#[tokio::test]
async fn cancels_are_bounded_and_end_with_the_client() {
    let client = over(Arc::new(StalledBus)).await;
    let shared = client.shared();
    for _ in 0..5 {
        let pending = || shared.pending();
        let ids: Vec<u64> = (0..MAX_REQUESTS)
            .map(|_| {
                let id = pending().reserve_id(1).unwrap();
                let frame = (Frame::default(), 1);
                drop(pending().insert(id, None, frame, Kind::Ask));
                id
            })
            .collect();
        let frames = vec![Frame::default(); ids.len()];
        let mut batch = Batch { ids, frames };
        pending().give(&mut batch, Epoch(1), 0);
        for id in batch.ids {
            shared.abandon(id, Instant::now() + MS);
        }
    }
    assert_eq!(client.in_flight(), 0);
    assert_eq!(shared.link.queue.controls(), MAX_REQUESTS);

    let mut cx = Context::from_waker(Waker::noop());
    let mut ask = Box::pin(client.ask("actor", Nothing));
    assert!(ask.as_mut().poll(&mut cx).is_pending());
    client.shutdown().await;
    let before = shared.link.queue.controls();
    drop(ask);
    assert_eq!(shared.link.queue.controls(), before);
}

#[tokio::test]
async fn request_refused_by_the_former_owner_is_not_sent_to_the_next() {
    let replies = Arc::new(ReplyDispatcher::new(FIRST, Arc::default()));
    let bus = Arc::new(SucceededBus {
        replies: replies.clone(),
        taken: AtomicUsize::new(0),
    });
    let (config, id) = (Config::memory(), ClientId([1; 16]));
    let client = ProxyClient::over(bus.clone(), &config, id, replies, Arc::default());
    let client = client.await.unwrap();
    let first = client.ask("actor", Nothing);
    let second = client.tell("actor", Nothing);
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first, Err(AskError::NoResponder));
    assert!(second.is_ok());
    assert_eq!(bus.taken.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_batch_of_a_former_owner_is_taken_back_also_after_the_timeout() {
    let bus = Arc::new(LosingBus::default());
    let client = over(bus.clone()).await;
    let impatient = client.ask("actor", Nothing).timeout(MS).await;
    let delivered = Delivered::Unknown;
    assert_eq!(impatient, Err(AskError::Timeout { delivered }));
    sleep(20 * MS).await;
    let patient = client.ask("actor", Nothing).await;
    assert_eq!(patient, Err(AskError::Disconnected { delivered }));
    tokio::task::yield_now().await;
    let taken_back = bus.taken_back.lock().clone();
    assert_eq!(taken_back, [(Epoch(0), 1), (Epoch(1), 1)]);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`Nothing` was polled after completion")]
async fn repeating_ask_polled_after_completion_panics() {
    let (config, system) = (Config::memory(), ActorSystem::new());
    start_proxy(&system, &config).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    let mut ask = client.ask("actor", Nothing).retry();
    let ended = (&mut ask).await;
    assert!(matches!(ended, Err(AskError::ActorNotFound { .. })));
    let _ = ask.await;
}

#[tokio::test(start_paused = true)]
async fn timeout_given_in_a_pause_before_a_repetition_shortens_the_wait() {
    let client = ProxyClient::connect(&Config::memory()).await.unwrap(); // no process serves
    let start = Instant::now();
    let mut ask = client.ask("actor", Nothing).retry();
    let pauses = tokio::time::timeout(5 * MS, &mut ask).await;
    assert!(pauses.is_err());
    let delivered = Delivered::No;
    let ended = ask.timeout(MS).await;
    assert_eq!(ended, Err(AskError::Timeout { delivered }));
    assert!(start.elapsed() <= 8 * MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn store_timeout_given_in_a_pause_before_a_repetition_shortens_the_wait() {
    let client = ProxyClient::connect(&Config::memory().max_stream_len(1)).await;
    let client = client.unwrap();
    assert_eq!(client.tell("actor", Nothing).durable().await, Ok(()));
    let start = Instant::now();
    let mut ask = client.ask("actor", Nothing).durable().retry();
    let pauses = tokio::time::timeout(5 * MS, &mut ask).await; // the stream is full
    assert!(pauses.is_err());
    let ended = ask.store_timeout(MS).await;
    let is_unavailable = matches!(ended, Err(AskError::Unavailable { .. }));
    assert!(is_unavailable, "{ended:?}");
    assert!(start.elapsed() <= 8 * MS, "{:?}", start.elapsed());
}
