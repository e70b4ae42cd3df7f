//! Topics: delivery, full mailboxes, stopped subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conclib::prelude::*;
use conclib::topic::{Published, Topic};
use conclib_tests::messages::Pass;
use conclib_tests::{GateHandle, Log, PanicsOnDrop, TestResult, gate, within};
use tokio::sync::{Barrier, oneshot};

/// The published message, which counts its copies.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct News {
    text: String,
    copies: Arc<AtomicUsize>,
}

impl Clone for News {
    fn clone(&self) -> Self {
        self.copies.fetch_add(1, Ordering::Relaxed);
        Self {
            text: self.text.clone(),
            copies: self.copies.clone(),
        }
    }
}

fn news(text: impl Into<String>) -> News {
    News {
        text: text.into(),
        copies: Arc::default(),
    }
}

/// Answered when all earlier messages are handled.
#[derive(ActorMessage)]
#[message(local)]
struct Settle;

/// The actor subscribes itself, and publishes this often; the answer has the results.
#[derive(ActorMessage)]
#[message(local, response = Vec<Published>)]
struct Publish(Topic<News>, usize);

#[derive(Actor)]
struct Reader(Log);

#[handlers]
impl Reader {
    #[handler]
    fn news(&mut self, News { text, .. }: News, ctx: &mut Context<Self>) -> u32 {
        self.0.add(format!("{} {text}", ctx.urn()));
        0
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    fn settle(&mut self, _: Settle) {}

    #[handler]
    fn publish(
        &mut self,
        Publish(topic, times): Publish,
        ctx: &mut Context<Self>,
    ) -> Vec<Published> {
        topic.subscribe(&ctx.actor_ref().recipient());
        let publish = |n: usize| topic.publish(news(n.to_string()));
        (0..times).map(publish).collect()
    }
}

async fn reader(
    system: &ActorSystem,
    urn: &'static str,
    log: &Log,
) -> Result<ActorRef<Reader>, Box<dyn std::error::Error>> {
    let reader = system.spawn(Reader(log.clone())).urn(urn).mailbox(1).await;
    Ok(reader?)
}

/// Keeps a reader busy until the gate is opened.
async fn occupy(reader: &ActorRef<Reader>) -> Result<GateHandle, Box<dyn std::error::Error>> {
    let (gate, mut keeper) = gate();
    reader.tell(Pass(gate)).await?;
    keeper.reached().await;
    Ok(keeper)
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_gets_one_copy_in_the_order_of_subscription() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let topic = Topic::new();
    assert_eq!(topic.publish(news("no subscriber")), Published::default());

    let (a, b) = (
        reader(&system, "a", &log).await?,
        reader(&system, "b", &log).await?,
    );
    let c = reader(&system, "c", &log).await?;
    for subscriber in [&b, &c, &a, &b] {
        topic.clone().subscribe(&subscriber.recipient());
    }
    assert_eq!(topic.subscribers(), 3);
    // Until each waits for messages: then they run in the order of delivery.
    for reader in [&a, &b, &c] {
        within(reader.ask(Settle)).await?;
    }
    let first = news("first");
    let copies = first.copies.clone();
    let published = topic.publish(first);
    assert_eq!(published.delivered, 3);
    assert!(published.is_complete() && published.stopped.is_empty());
    // The last subscriber gets the message itself.
    assert_eq!(copies.load(Ordering::Relaxed), 2);
    for reader in [&a, &b, &c] {
        within(reader.ask(Settle)).await?;
    }
    assert_eq!(log.entries(), ["b first", "c first", "a first"]);

    assert!(topic.unsubscribe(&c.recipient()));
    assert!(!topic.unsubscribe(&c.recipient()));
    topic.subscribe(&b.recipient());
    assert_eq!(topic.publish(news("second")).delivered, 2);
    for reader in [&a, &b, &c] {
        within(reader.ask(Settle)).await?;
    }
    assert_eq!(log.entries()[3..], ["b second", "a second"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn subscriber_without_room_misses_the_message_and_stays() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let topic = Topic::new();
    let (slow, quick) = (
        reader(&system, "slow", &log).await?,
        reader(&system, "quick", &log).await?,
    );
    topic.subscribe(&slow.recipient());
    topic.subscribe(&quick.recipient());
    let keeper = occupy(&slow).await?;
    assert!(topic.publish(news("1")).is_complete());
    within(quick.ask(Settle)).await?;
    for n in 2..4 {
        let published = topic.publish(news(n.to_string()));
        assert_eq!(published.delivered, 1);
        assert_eq!(published.dropped, ["slow"]);
        assert!(!published.is_complete() && published.stopped.is_empty());
        within(quick.ask(Settle)).await?;
    }
    assert_eq!(topic.dropped(), 2);
    keeper.open();
    within(slow.ask(Settle)).await?;
    assert!(topic.publish(news("4")).is_complete());
    within(slow.ask(Settle)).await?;
    let entries = log.entries();
    let seen = |urn: &str| entries.iter().filter(|e| e.starts_with(urn)).count();
    assert_eq!((seen("slow"), seen("quick")), (2, 4), "{entries:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stopped_subscriber_is_removed() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let topic = Topic::new();
    let (a, b) = (
        reader(&system, "a", &log).await?,
        reader(&system, "b", &log).await?,
    );
    let c = reader(&system, "c", &log).await?;
    for subscriber in [&a, &b, &c] {
        topic.subscribe(&subscriber.recipient());
    }
    let _busy = occupy(&b).await?;
    b.stop(); // it has not ended yet, but takes no more messages
    a.kill();
    within(a.stopped()).await;
    drop(a);
    let published = topic.publish(news("1"));
    assert_eq!(published.stopped, ["a", "b"]);
    assert_eq!(published.delivered, 1);
    assert!(published.is_complete()); // no living subscriber missed it
    assert!(!topic.unsubscribe(&b.recipient()));
    assert_eq!(topic.publish(news("2")).stopped, Vec::<&str>::new());

    // New subscriptions remove stopped ones as well.
    c.kill();
    within(c.stopped()).await;
    topic.subscribe(&c.recipient());
    assert_eq!(topic.subscribers(), 0);
    assert_eq!(format!("{topic:?}"), r#"Topic<News>["c"]"#);
    let d = reader(&system, "d", &log).await?;
    topic.subscribe(&d.recipient());
    assert_eq!(format!("{topic:?}"), r#"Topic<News>["d"]"#);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn subscription_keeps_no_actor_alive() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let topic = Topic::new();
    let reader = system
        .spawn(Reader(log.clone()))
        .urn("reader")
        .while_referenced()
        .await?;
    topic.subscribe(&reader.recipient());
    assert_eq!(topic.publish(news("1")).delivered, 1);
    within(reader.ask(Settle)).await?;
    drop(reader);
    let stopped = async {
        while !system.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within(stopped).await;
    assert_eq!(topic.publish(news("2")).stopped, ["reader"]);
    assert_eq!(log.entries(), ["reader 1"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publisher_that_is_subscribed_has_room_for_itself() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let publisher = reader(&system, "p", &log).await?;
    let topic = Topic::new();
    let fates = within(publisher.ask(Publish(topic, 3))).await?;
    assert!(fates.iter().all(|fate| fate.delivered == 1));
    assert!(fates.iter().all(Published::is_complete));
    within(publisher.ask(Settle)).await?;
    assert_eq!(log.entries(), ["p 0", "p 1", "p 2"]);
    Ok(())
}

/// Its clones and drops use the topic that it is published in.
#[derive(ActorMessage)]
#[message(local)]
struct Nosy(Option<(Topic<Nosy>, Recipient<Nosy>)>);

impl Clone for Nosy {
    fn clone(&self) -> Self {
        let Self(Some((topic, recipient))) = self else {
            return Self(None);
        };
        topic.unsubscribe(recipient);
        topic.subscribe(recipient);
        topic.publish(Self(None));
        Self(self.0.clone())
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some((topic, recipient)) = &self.0 {
            topic.unsubscribe(recipient);
        }
    }
}

/// Its clone panics.
#[derive(ActorMessage)]
#[message(local)]
struct Unique;

impl Clone for Unique {
    fn clone(&self) -> Self {
        drop(PanicsOnDrop);
        Self
    }
}

#[derive(Actor)]
struct Sink;

#[handlers]
impl Sink {
    #[handler]
    fn nosy(&mut self, _: Nosy) {}

    #[handler]
    fn unique(&mut self, _: Unique) {}

    #[handler]
    fn settle(&mut self, _: Settle) {}
}

#[tokio::test]
async fn copies_may_use_the_topic_and_may_panic() -> TestResult {
    let system = ActorSystem::new();
    let topic = Topic::new();
    let sinks = [
        system.spawn(Sink).mailbox(1).await?,
        system.spawn(Sink).mailbox(1).await?,
    ];
    for sink in &sinks {
        topic.subscribe(&sink.recipient());
    }
    let message = Nosy(Some((topic.clone(), sinks[0].recipient())));
    let (done, published) = oneshot::channel();
    thread::spawn(move || done.send(topic.publish(message)));
    let published = within(published).await?;
    assert_eq!(published.delivered + published.dropped.len(), 2);

    let topic = Topic::new();
    for sink in &sinks {
        within(sink.ask(Settle)).await?;
        topic.subscribe(&sink.recipient());
    }
    let same = topic.clone();
    let panicked = tokio::spawn(async move { same.publish(Unique) });
    assert!(within(panicked).await.is_err());
    topic.unsubscribe(&sinks[1].recipient());
    assert_eq!(topic.publish(Unique).delivered, 1); // the last copy is the message itself
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_publishers_and_subscribers() -> TestResult {
    const PUBLISHERS: usize = 3;
    const TIMES: usize = 200;
    let system = ActorSystem::new();
    let (log, others) = (Log::default(), Log::default());
    let topic = Topic::new();
    let faithful = system.spawn(Reader(log.clone())).urn("r").await?;
    topic.subscribe(&faithful.recipient());
    let start = Arc::new(Barrier::new(PUBLISHERS + 1));
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let (topic, start) = (topic.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            for n in 0..TIMES {
                topic.publish(news(format!("{publisher}/{n}")));
                tokio::task::yield_now().await;
            }
        })
    });
    let publishers: Vec<_> = publishers.collect();
    start.wait().await;
    for n in 0..TIMES {
        let guest = system.spawn(Reader(others.clone())).mailbox(1).await?;
        topic.subscribe(&guest.recipient());
        match n % 3 {
            0 => assert!(topic.unsubscribe(&guest.recipient())),
            1 => guest.kill(),
            _ => {}
        }
    }
    for publisher in publishers {
        within(publisher).await?;
    }
    within(faithful.ask(Settle)).await?;
    let entries = log.entries();
    for publisher in 0..PUBLISHERS {
        let prefix = format!("r {publisher}/");
        let seen = entries.iter().filter(|entry| entry.starts_with(&prefix));
        let sent = (0..TIMES).map(|n| format!("{prefix}{n}"));
        assert!(seen.eq(sent.collect::<Vec<_>>().iter()), "{prefix}");
    }
    topic.publish(news("so that the last one is forgotten"));
    assert_eq!(topic.subscribers(), 1 + TIMES / 3);
    Ok(())
}
