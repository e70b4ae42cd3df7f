//! Cancels across the bus: askers that are dropped.

use std::future::{Future, IntoFuture};
use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::actors::GatedActor;
use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::messages::{Double, Enter, Forget, Hold};
use conclib_tests::{ASK_TIMEOUT, Log, eventually};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(10);

/// Works until it is cancelled, with and without its reply, and with an envelope.
#[derive(Actor)]
#[actor(urn = "patient")]
struct Patient(Log);

#[handlers]
impl Patient {
    #[handler]
    async fn pass(&mut self, message: Enter, ctx: &mut Context<Self>) -> u32 {
        self.0.add("begun");
        ctx.cancelled().await;
        self.0.add("ended");
        message.n
    }

    #[handler]
    async fn hold(&mut self, _: Hold, reply: Reply<u32>) {
        self.0.add("begun");
        reply.cancelled().await;
        assert!(!reply.is_wanted());
        self.0.add("ended");
    }

    #[handler]
    async fn raw(&mut self, envelope: RequestEnvelope, ctx: &mut Context<Self>) {
        self.0.add("begun");
        ctx.cancelled().await;
        self.0.add("ended");
        drop(envelope);
    }
}

async fn count(log: &Log, entry: &str, expected: usize) {
    let what = format!("{expected} times {entry}");
    eventually(&what, async || {
        let entries = log.entries();
        entries.iter().filter(|other| *other == entry).count() == expected
    })
    .await;
}

/// A shutdown at once shows that no answer is awaited: a system waits for open requests.
async fn nothing_is_waited_for(fixture: BusFixture) {
    let start = Instant::now();
    assert!(fixture.system.shutdown().await.is_clean());
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
}

async fn patient(fixture: &BusFixture) -> Log {
    let log = Log::default();
    fixture.system.spawn(Patient(log.clone())).await.unwrap();
    log
}

pub(crate) async fn handler_is_cancelled_when_its_asker_is_dropped(fixture: BusFixture) {
    let log = patient(&fixture).await;
    let client = &fixture.client;
    let pass = tokio::spawn(client.ask("patient", Enter { n: 1 }));
    count(&log, "begun", 1).await;
    assert_eq!(log.count(), 1);
    pass.abort();
    count(&log, "ended", 1).await;
    let hold = tokio::spawn(client.ask("patient", Hold));
    count(&log, "begun", 2).await;
    hold.abort();
    count(&log, "ended", 2).await;
    let raw = tokio::spawn(client.ask("patient", Double { n: 1 }));
    count(&log, "begun", 3).await;
    raw.abort();
    count(&log, "ended", 3).await;
    nothing_is_waited_for(fixture).await;
}

pub(crate) async fn handler_is_cancelled_at_its_deadline(fixture: BusFixture) {
    let log = patient(&fixture).await;
    let timeout = Duration::from_millis(100);
    let ask = fixture.client.ask("patient", Enter { n: 1 });
    let asked = ask.timeout(timeout).await;
    let delivered = Delivered::Accepted;
    assert_eq!(asked, Err(AskError::Timeout { delivered }));
    count(&log, "ended", 1).await;
}

pub(crate) async fn tell_is_never_cancelled(fixture: BusFixture) {
    let log = patient(&fixture).await;
    let tell = fixture.client.tell("patient", Enter { n: 1 });
    // Long enough for its handler to begin, also on a busy machine.
    tell.timeout(Duration::from_secs(2)).await.unwrap();
    count(&log, "begun", 1).await;
    // As an ask is at its deadline.
    let other = fixture.client.ask("holder", Hold);
    assert!(other.timeout(Duration::from_secs(3)).await.is_err());
    assert_eq!(log.count(), 1);
    fixture.system.actor::<Patient>("patient").unwrap().kill();
}

pub(crate) async fn cancelled_request_that_waits_is_not_executed(fixture: BusFixture) {
    let client = &fixture.client;
    let (gate, watch) = GatedActor::closed();
    fixture.system.spawn(gate).await.unwrap();
    let first = tokio::spawn(client.ask("gate", Enter { n: 1 }));
    eventually("it is in its handler", async || watch.entered() == 1).await;
    let given_up: Vec<_> = (0..100)
        .map(|n| tokio::spawn(client.ask("gate", Enter { n })))
        .collect();
    eventually("they are sent", async || client.in_flight() == 101).await;
    // The answer to a later request proves that they have arrived.
    let asked = client.ask("holder", Forget).await;
    assert_eq!(asked, Err(AskError::NoReply));
    for ask in given_up {
        ask.abort();
        assert!(ask.await.is_err());
    }
    // The same for their cancels.
    let asked = client.ask("holder", Forget).await;
    assert_eq!(asked, Err(AskError::NoReply));
    let last = tokio::spawn(client.ask("gate", Enter { n: 2 }));
    eventually("it is sent", async || client.in_flight() == 2).await;
    watch.admit(200);
    assert_eq!(first.await.unwrap(), Ok(1));
    assert_eq!(last.await.unwrap(), Ok(2));
    assert_eq!(watch.entered(), 2);
    nothing_is_waited_for(fixture).await;
}

pub(crate) async fn cancel_of_an_ended_request_does_nothing(fixture: BusFixture) {
    let client = &fixture.client;
    // Dropped before, while, or after the answers are on their way.
    for round in 0..200 {
        let ask = tokio::spawn(client.ask("worker", Double { n: round }));
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        ask.abort();
        if let Ok(answer) = ask.await {
            assert_eq!(answer, Ok(2 * round));
        }
    }
    assert_eq!(client.in_flight(), 0);
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    nothing_is_waited_for(fixture).await;
}

/// Asks the next actor, on another bus.
#[derive(Actor)]
#[actor(urn = "front")]
struct Front {
    back: ActorRef<Back>,
    log: Log,
}

/// The actor at the end of the chain.
#[derive(Actor)]
struct Back {
    client: ProxyClient,
    log: Log,
}

async fn log_end(log: &Log, who: &str, ask: impl Future<Output = Result<u32, AskError>>) -> u32 {
    let start = Instant::now();
    let answer = ask.await;
    let took = start.elapsed();
    let in_time = took < Duration::from_secs(2);
    log.add(format!("{who} in time: {in_time}"));
    answer.unwrap_or_default()
}

#[handlers]
impl Front {
    #[handler]
    async fn pass(&mut self, message: Enter) -> u32 {
        log_end(&self.log, "front", self.back.ask(message).into_future()).await
    }
}

#[handlers]
impl Back {
    #[handler]
    async fn pass(&mut self, message: Enter) -> u32 {
        let ask = self.client.ask("patient", message).timeout(ASK_TIMEOUT);
        log_end(&self.log, "back", ask.into_future()).await
    }
}

/// Client, actor, actor, client, actor: from one bus to another.
pub(crate) async fn chain_over_two_buses_ends_by_the_first_deadline(fixture: BusFixture) {
    let far = Bus {
        config: fixture.bus.config.clone().namespace("far"),
        redis: None,
    };
    let far = far.fixture().await;
    let far_log = patient(&far).await;
    let log = Log::default();
    let (client, log_of_back) = (far.client.clone(), log.clone());
    let back = fixture.system.spawn(Back {
        client,
        log: log_of_back,
    });
    let back = back.await.unwrap();
    let front = Front {
        back,
        log: log.clone(),
    };
    fixture.system.spawn(front).await.unwrap();
    let ask = fixture.client.ask("front", Enter { n: 1 });
    let asked = ask.timeout(Duration::from_millis(300)).await;
    // Deadlines cross the bus in whole milliseconds: those behind it end a little earlier, and what
    // they make of that may come in time.
    let delivered = Delivered::Accepted;
    let late = Err(AskError::Timeout { delivered });
    assert!(asked == late || asked == Ok(0), "{asked:?}");
    let ended = timeout(SOON, async {
        count(&log, "back in time: true", 1).await;
        count(&log, "front in time: true", 1).await;
        count(&far_log, "ended", 1).await;
    });
    let ended = ended.await;
    assert!(ended.is_ok(), "{:?} {:?}", log.entries(), far_log.entries());
}
