//! Many messages, slow actors, and missing ones.

use std::time::Duration;

use conclib::bus::RemoteAsk;
use conclib::{ActorRef, AskError, Config};
use conclib_tests::actors::GateControl;
use conclib_tests::durable::{Order, Shop, Wait, open_shop};
use conclib_tests::{Log, eventually};
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::{Server, VISIBILITY, connect};

pub(crate) async fn ten_thousand_tells_are_handled_once_in_order(config: Config) {
    const COUNT: u32 = 10_000;
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let tells = (0..COUNT).map(|n| client.tell("shop", Order { n }));
    for told in join_all(tells).await {
        told.unwrap();
    }
    all_handled(&log, COUNT as usize).await;
    // No message is repeated, neither at once nor after the visibility time.
    sleep(2 * VISIBILITY).await;
    let expected: Vec<_> = (0..COUNT).map(|n| n.to_string()).collect();
    assert_eq!(log.entries(), expected);
    server.stop().await;
}

/// Waits for this many entries, as long as more come.
async fn all_handled(log: &Log, count: usize) {
    let mut before = 0;
    while log.count() < count {
        let more = format!("more than {before}");
        eventually(&more, async || log.count() > before).await;
        before = log.count();
    }
}

pub(crate) async fn full_mailbox_does_not_hold_up_other_actors(config: Config) {
    let (stuck, others) = (Log::default(), Log::default());
    let server = Server::start(&config, &stuck).await;
    for urn in ["a", "b"] {
        open_shop(&server.system, urn, &others).await;
    }
    let client = connect(&config).await;
    // More messages than fit into the mailbox and the prefetch.
    let count = 1000;
    let stuff = |n| client.tell("shop", Wait { n });
    for told in join_all((0..count).map(stuff)).await {
        told.unwrap();
    }
    for n in 0..50 {
        assert!(client.ask("a", Order { n }).await.is_ok());
        assert!(client.ask("b", Order { n }).await.is_ok());
    }
    assert_eq!(stuck.count(), 1);
    // While the actor is stuck, none of its messages counts as failed.
    sleep(3 * VISIBILITY).await;
    server.watch.admit(count as usize);
    eventually("all is handled", async || stuck.count() == count as usize).await;
    let expected: Vec<_> = (0..count).map(|n| format!("waits {n}")).collect();
    assert_eq!(stuck.entries(), expected);
    assert!(server.proxy.dead_letters().list().await.unwrap().is_empty());
    server.stop().await;
}

pub(crate) async fn long_handler_is_not_disturbed(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let ask = tokio::spawn(client.ask("shop", Wait { n: 3 }));
    eventually("it is handled", async || server.watch.entered() == 1).await;
    // The same for the messages behind it in the mailbox.
    client.tell("shop", Order { n: 4 }).await.unwrap();
    sleep(5 * VISIBILITY).await;
    server.watch.admit(9);
    assert_eq!(ask.await.unwrap(), Ok(3));
    eventually("both are handled", async || log.count() == 2).await;
    sleep(2 * VISIBILITY).await;
    assert_eq!(log.entries(), ["waits 3", "4"]);
    server.stop().await;
}

pub(crate) async fn actor_that_comes_late(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &Log::default()).await;
    let client = connect(&config).await;
    let told = join_all((1..4).map(|n| client.tell("late", Order { n }))).await;
    assert!(told.iter().all(Result::is_ok));
    let ask = tokio::spawn(client.ask("late", Order { n: 4 }));
    // Messages for other actors are not delayed.
    assert_eq!(client.ask("shop", Order { n: 8 }).await, Ok(8));
    sleep(VISIBILITY / 3).await;
    open_shop(&server.system, "late", &log).await;
    assert_eq!(ask.await.unwrap(), Ok(10));
    eventually("all are handled", async || log.count() == 4).await;
    assert_eq!(log.entries(), ["1", "2", "3", "4"]);
    server.stop().await;
}

pub(crate) async fn stopping_proxy_gives_waiting_messages_back(config: Config) {
    // No message is taken over before its time: messages that are handled soon were given back.
    let config = config.visibility_timeout(Duration::from_secs(3600));
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    client.tell("shop", Wait { n: 0 }).await.unwrap();
    let count = 300;
    let told = join_all((1..=count).map(|n| client.tell("shop", Order { n }))).await;
    assert!(told.iter().all(Result::is_ok));
    eventually("it is handled", async || server.watch.entered() == 1).await;
    let stopped = tokio::spawn(async move {
        let watch = server.watch.clone();
        let stop = server.proxy.shutdown();
        let let_pass = async {
            sleep(Duration::from_millis(50)).await;
            watch.admit(1);
        };
        tokio::join!(stop, let_pass);
        server.stop().await;
    });
    stopped.await.unwrap();
    // The first system handles the messages of its mailbox.
    let first = log.count();
    assert!(first < 20, "{first}");
    let start = Instant::now();
    let server = Server::start(&config, &log).await;
    eventually("the rest is handled", async || log.count() > count as usize).await;
    assert!(start.elapsed() < Duration::from_secs(20));
    let mut handled: Vec<u32> = log.entries()[1..].iter().flat_map(|n| n.parse()).collect();
    handled.sort_unstable();
    assert_eq!(handled, (1..=count).collect::<Vec<_>>());
    server.stop().await;
}

pub(crate) async fn stopping_proxy_keeps_the_messages_that_it_handles(config: Config) {
    let (log, other) = (Log::default(), Log::default());
    let client = connect(&config).await;
    let ask = || client.ask("shop", Wait { n: 7 });
    // The next system serves meanwhile, for longer than the visibility time.
    let (first, next, stopping, ask) = two_shops(&config, [&log, &other], ask).await;
    let told = client.ask("shop", Order { n: 1 }).await;
    assert_eq!(told, Ok(1));
    sleep(4 * VISIBILITY).await;
    assert!(!stopping.is_finished());
    first.watch.admit(1);
    assert_eq!(ask.await.unwrap(), Ok(7));
    stopping.await.unwrap();
    assert_eq!(
        (log.entries(), other.entries()),
        (vec!["waits 7".to_owned()], vec!["1".to_owned()])
    );
    next.stop().await;
}

pub(crate) async fn too_many_messages_are_refused(config: Config) {
    let config = config.max_stream_len(10);
    let client = connect(&config).await;
    for n in 0..10 {
        client.tell("shop", Order { n }).await.unwrap();
    }
    for _ in 0..2 {
        let told = client.tell("shop", Order { n: 10 }).await.unwrap_err();
        assert!(matches!(told, AskError::Overloaded { .. }));
        assert!(told.is_retryable());
    }
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    eventually("there is room again", async || {
        client.tell("shop", Order { n: 11 }).await.is_ok()
    })
    .await;
    eventually("all are handled", async || log.count() >= 11).await;
    assert!(!log.entries().contains(&"10".to_owned()));
    server.stop().await;
}

/// A shop whose system is gone, while it still handles a message.
struct LastShop {
    shop: ActorRef<Shop>,
    watch: GateControl,
}

/// A shop that handles the `Wait` of that ask while its system is dropped, which releases the lease at
/// once, and another that serves meanwhile.
async fn two_shops(
    config: &Config,
    logs: [&Log; 2],
    ask: impl Fn() -> RemoteAsk<Wait>,
) -> (
    LastShop,
    Server,
    JoinHandle<()>,
    JoinHandle<Result<u32, AskError>>,
) {
    let first = Server::start(config, logs[0]).await;
    let asked = tokio::spawn(ask());
    eventually("it is handled", async || first.watch.entered() == 1).await;
    let Server {
        system,
        proxy,
        watch,
    } = first;
    let shop = system.actor::<Shop>("shop").unwrap();
    drop(system);
    let stopping = tokio::spawn(async move { proxy.shutdown().await });
    let next = Server::start(config, logs[1]).await;
    (LastShop { shop, watch }, next, stopping, asked)
}

pub(crate) async fn repetition_waits_for_the_proxy_that_stops(config: Config) {
    let logs = [Log::default(), Log::default()];
    let client = connect(&config).await;
    let ask = || client.ask("shop", Wait { n: 7 }).idempotency_key("k");
    let (first, next, stopping, asked) = two_shops(&config, [&logs[0], &logs[1]], ask).await;
    let again = [tokio::spawn(ask()), tokio::spawn(ask())];
    // It holds up no other message.
    assert_eq!(client.ask("shop", Order { n: 1 }).await, Ok(1));
    sleep(4 * VISIBILITY).await;
    assert!(!stopping.is_finished() && again.iter().all(|ask| !ask.is_finished()));
    first.watch.admit(1);
    assert_eq!(asked.await.unwrap(), Ok(7));
    for again in again {
        assert_eq!(again.await.unwrap(), Ok(7));
    }
    stopping.await.unwrap();
    assert_eq!(ask().await, Ok(7));
    assert_eq!(
        logs.map(|log| log.entries()),
        [["waits 7".to_owned()], ["1".to_owned()]]
    );
    next.stop().await;
}

pub(crate) async fn repetition_is_handled_after_the_stopping_proxy_failed(config: Config) {
    let logs = [Log::default(), Log::default()];
    let client = connect(&config).await;
    let ask = || client.ask("shop", Wait { n: 7 }).idempotency_key("k");
    let (first, next, stopping, asked) = two_shops(&config, [&logs[0], &logs[1]], ask).await;
    let again = tokio::spawn(ask());
    sleep(VISIBILITY).await;
    assert_eq!(logs[1].count(), 0);
    first.shop.kill();
    // The first one is handled, and the other gets its answer.
    next.watch.admit(1);
    assert_eq!(again.await.unwrap(), Ok(7));
    assert_eq!(asked.await.unwrap(), Ok(7));
    stopping.await.unwrap();
    assert_eq!(logs.map(|log| log.entries()), [["waits 7"], ["waits 7"]]);
    next.stop().await;
}

pub(crate) async fn other_contents_are_refused_after_the_stopping_proxy_succeeded(config: Config) {
    let logs = [Log::default(), Log::default()];
    let client = connect(&config).await;
    let ask = |n| client.ask("shop", Wait { n }).idempotency_key("k");
    let (first, next, stopping, asked) = two_shops(&config, [&logs[0], &logs[1]], || ask(7)).await;
    let other = tokio::spawn(ask(8));
    sleep(VISIBILITY).await;
    assert!(!other.is_finished());
    first.watch.admit(1);
    assert_eq!(asked.await.unwrap(), Ok(7));
    let refused = other.await.unwrap();
    assert!(
        matches!(&refused, Err(AskError::KeyReused { key }) if key == "k"),
        "{refused:?}"
    );
    stopping.await.unwrap();
    assert_eq!((logs[0].count(), logs[1].count()), (1, 0));
    next.stop().await;
}
