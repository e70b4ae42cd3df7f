//! Dead letters.

use std::time::Duration;

use conclib::durable::{DeadLetter, DeadLetters};
use conclib::{AskError, Config};
use conclib_tests::desk::{Desk, Parse};
use conclib_tests::durable::{Large, NoOrder, Order, Poison, open_shop};
use conclib_tests::messages::Stranger;
use conclib_tests::{Log, eventually};
use tokio::time::{Instant, sleep};

use crate::{RETRY_PAUSE, Server, VISIBILITY, connect};

/// The time for which messages wait for a missing actor.
const MISSING: Duration = Duration::from_millis(500);

/// Waits for this many dead letters.
async fn letters(config: &Config, count: usize) -> Vec<DeadLetter> {
    let dead = DeadLetters::connect(config).await.unwrap();
    eventually("there are dead letters", async || {
        dead.list().await.unwrap().len() >= count
    })
    .await;
    let letters = dead.list().await.unwrap();
    assert_eq!(letters.len(), count);
    letters
}

pub(crate) async fn message_that_fails_too_often_is_a_dead_letter(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let start = Instant::now();
    let ask = client.ask("shop", Poison).attribute("trace", "abc");
    // An asker waits for the last delivery.
    assert!(matches!(
        ask.idempotency_key("bad").await,
        Err(AskError::Failed { .. })
    ));
    assert!(start.elapsed() >= RETRY_PAUSE);
    assert_eq!(log.entries(), ["poison"; 3]);
    let letters = letters(&config, 1).await;
    let letter = &letters[0];
    assert_eq!((&*letter.urn, &*letter.message), ("shop", "Poison"));
    assert_eq!((&*letter.key, letter.deliveries), ("bad", 3));
    assert_eq!(
        letter.reason,
        "the actor `shop` failed while handling the message: panicked: on purpose"
    );
    assert_eq!(letter.attributes.get("trace"), Some("abc"));
    assert!(letter.when.elapsed().unwrap_or_default() < Duration::from_secs(60));
    let json = serde_json::to_string(letter).unwrap();
    assert_eq!(serde_json::from_str::<DeadLetter>(&json).unwrap(), *letter);
    // Other messages were handled meanwhile, and are afterwards.
    assert_eq!(client.ask("shop", Order { n: 2 }).await, Ok(2));
    sleep(2 * VISIBILITY).await;
    assert_eq!(log.count(), 4);
    server.stop().await;
}

pub(crate) async fn hopeless_message_is_a_dead_letter_at_once(config: Config) {
    // No message is delivered twice within the test.
    let config = config.visibility_timeout(Duration::from_secs(3600));
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let asked = client.ask("shop", NoOrder).await;
    assert!(
        matches!(asked, Err(AskError::BadRequest { .. })),
        "{asked:?}"
    );
    let asked = client.ask("shop", Stranger).durable().await;
    assert!(
        matches!(asked, Err(AskError::Unhandled { .. })),
        "{asked:?}"
    );
    let letters = letters(&config, 2).await;
    let facts = letters.iter().map(|dead| (&*dead.message, dead.deliveries));
    assert_eq!(facts.collect::<Vec<_>>(), [("Order", 1), ("Stranger", 1)]);
    assert!(letters[1].reason.contains("no handler"), "{letters:?}");
    assert_eq!(log.count(), 0);
    server.stop().await;
}

pub(crate) async fn actor_that_never_comes(config: Config) {
    let config = config.missing_timeout(MISSING);
    let server = Server::start(&config, &Log::default()).await;
    let client = connect(&config).await;
    let start = Instant::now();
    let asked = client.ask("absent", Order { n: 1 }).await;
    assert!(
        matches!(asked, Err(AskError::ActorNotFound { .. })),
        "{asked:?}"
    );
    assert!(start.elapsed() >= MISSING);
    let letters = letters(&config, 1).await;
    assert_eq!((&*letters[0].urn, letters[0].deliveries), ("absent", 0));
    server.stop().await;
}

pub(crate) async fn actor_that_failed_for_good(config: Config) {
    let config = config.missing_timeout(MISSING);
    let server = Server::start(&config, &Log::default()).await;
    server.system.spawn(Desk).await.unwrap();
    let client = connect(&config).await;
    let bad = client.ask("desk", Parse("seven".to_owned())).await;
    assert!(bad.is_err());
    let asked = client.ask("desk", Parse("7".to_owned())).durable().await;
    assert!(
        matches!(asked, Err(AskError::ActorFailed { .. })),
        "{asked:?}"
    );
    let letter = letters(&config, 1).await.remove(0);
    assert_eq!(
        letter.reason,
        "no actor had the URN for 500ms: the actor `desk` failed and will not start again"
    );
    server.stop().await;
}

pub(crate) async fn response_that_is_too_large(config: Config) {
    let small = config.clone().max_message_size(10_000);
    let server = Server::start(&small, &Log::default()).await;
    let client = connect(&config).await;
    let asked = client.ask("shop", Large).await;
    assert!(
        matches!(asked, Err(AskError::BadResponse { .. })),
        "{asked:?}"
    );
    let letters = letters(&config, 1).await;
    assert_eq!((&*letters[0].message, letters[0].deliveries), ("Large", 1));
    server.stop().await;
}

pub(crate) async fn dead_are_replayed(config: Config) {
    let config = config.missing_timeout(MISSING);
    let log = Log::default();
    let server = Server::start(&config, &Log::default()).await;
    let client = connect(&config).await;
    let order = || client.ask("late", Order { n: 6 }).idempotency_key("six");
    let asked = order().await;
    assert!(
        matches!(asked, Err(AskError::ActorNotFound { .. })),
        "{asked:?}"
    );
    let letter = letters(&config, 1).await.remove(0);
    open_shop(&server.system, "late", &log).await;
    let dead = server.proxy.dead_letters();
    assert!(dead.replay(&letter.id).await.unwrap().is_some());
    eventually("it is handled", async || log.count() == 1).await;
    assert!(dead.list().await.unwrap().is_empty());
    assert_eq!(dead.replay(&letter.id).await, Ok(None));
    assert_eq!(dead.replay("nonsense").await, Ok(None));
    // The key is the same.
    assert_eq!(order().await, Ok(6));
    assert_eq!(log.entries(), ["6"]);
    server.stop().await;
}

pub(crate) async fn dead_are_deleted(config: Config) {
    let config = config.max_deliveries(1);
    let server = Server::start(&config, &Log::default()).await;
    let client = connect(&config).await;
    for number in 0..5 {
        let tell = client.tell("shop", Stranger);
        let tell = tell.idempotency_key(number.to_string());
        tell.await.unwrap();
    }
    let all = letters(&config, 5).await;
    let dead = server.proxy.dead_letters();
    let page = dead.list().limit(2).await.unwrap();
    assert_eq!(page, all[..2]);
    let page = dead.list().after(&page[1].id).limit(2).await.unwrap();
    assert_eq!(page, all[2..4]);
    assert_eq!(dead.delete(&all[0].id).await, Ok(true));
    assert_eq!(dead.delete(&all[0].id).await, Ok(false));
    assert_eq!(dead.list().await.unwrap(), all[1..]);
    server.stop().await;
}
