//! `Probe`: an actor that records its messages.

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::test::{Probe, TestSystem};
use conclib_tests::messages::Stranger;
use conclib_tests::{SECOND, TestResult, within};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::panic_of_future;

/// Neither `Clone` nor `Debug`.
#[derive(ActorMessage, Serialize, Deserialize)]
struct Plain(u32);

#[derive(ActorMessage)]
#[message(local)]
struct Socket(Box<dyn FnOnce() -> u32 + Send>);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Result<u32, String>)]
struct Divide {
    dividend: u32,
    divisor: u32,
}

async fn probe(system: &ActorSystem) -> Probe<Plain> {
    Probe::spawn(system)
        .urn("log")
        .await
        .expect("the URN is free")
}

#[tokio::test(start_paused = true)]
async fn messages_are_expected_in_their_order() -> TestResult {
    let system = TestSystem::new();
    let log = probe(&system).await;
    assert_eq!(log.urn(), "log");
    for n in 0..3 {
        system.ask("log", Plain(n)).await?;
    }
    assert_eq!(log.expect().await.0, 0);
    let rest: Vec<_> = log.received().into_iter().map(|note| note.0).collect();
    assert_eq!(rest, [1, 2]);
    assert!(log.received().is_empty());

    let recipient = log.recipient();
    tokio::spawn(async move {
        sleep(4 * SECOND).await;
        recipient.tell(Plain(3)).await
    });
    assert_eq!(log.expect().await.0, 3);
    system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn missing_message_fails_the_test() -> TestResult {
    let system = TestSystem::new();
    let log = probe(&system).await;
    let start = Instant::now();
    let text = panic_of_future(log.expect()).await;
    assert!(
        text.starts_with("the probe `log` got no `Plain` within 5s (")
            && text.contains("probe.rs:"),
        "{text}"
    );
    assert_eq!(start.elapsed().as_secs(), 5);

    let patient = Probe::<Plain>::spawn(&system).timeout(60 * SECOND).await?;
    let text = panic_of_future(patient.expect()).await;
    assert!(text.contains("within 60s"), "{text}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn unexpected_message_fails_the_test() -> TestResult {
    let system = TestSystem::new();
    let log = probe(&system).await;
    let start = Instant::now();
    log.expect_none(SECOND).await;
    assert_eq!(start.elapsed().as_secs(), 1);

    system.ask("log", Plain(1)).await?;
    let before = panic_of_future(log.expect_none(SECOND)).await;
    let recipient = log.recipient();
    tokio::spawn(async move {
        sleep(SECOND / 2).await;
        recipient.tell(Plain(2)).await
    });
    let meanwhile = panic_of_future(log.expect_none(SECOND)).await;
    for text in [before, meanwhile] {
        let start = "the probe `log` got a `Plain` that was not expected (";
        assert!(
            text.starts_with(start) && text.contains("probe.rs:"),
            "{text}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_may_be_local_and_neither_cloned_nor_printed() -> TestResult {
    let system = TestSystem::new();
    let sockets = Probe::<Socket>::spawn(&system).await?;
    sockets.recipient().tell(Socket(Box::new(|| 42))).await?;
    assert_eq!((sockets.expect().await.0)(), 42);
    let found: Recipient<Socket> = system.recipient(sockets.urn())?;
    found.ask(Socket(Box::new(|| 43))).await?;
    assert_eq!((sockets.expect().await.0)(), 43);
    system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn probe_answers_with_the_function() -> TestResult {
    let system = TestSystem::new();
    let mut asked = 0;
    let calculator = Probe::answering(&system, move |ask: &Divide| {
        asked += 1;
        let quotient = ask.dividend.checked_div(ask.divisor);
        quotient.ok_or(format!("ask {asked}: by zero"))
    });
    let calculator = calculator.urn("calculator").await?;
    let ask = |dividend, divisor| system.ask("calculator", Divide { dividend, divisor });
    assert_eq!(ask(6, 3).await?, Ok(2));
    assert_eq!(ask(6, 0).await?, Err("ask 2: by zero".to_owned()));
    let asks = calculator.received();
    let asks: Vec<_> = asks.iter().map(|ask| (ask.dividend, ask.divisor)).collect();
    assert_eq!(asks, [(6, 3), (6, 0)]);
    system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn answer_that_panics_fails_the_probe() -> TestResult {
    let system = TestSystem::new();
    let calculator = Probe::answering(&system, |ask: &Divide| Ok(ask.dividend / ask.divisor));
    let calculator = calculator.await?;
    let ask = Divide {
        dividend: 1,
        divisor: 0,
    };
    let failed = calculator.recipient().ask(ask).await;
    assert!(matches!(failed, Err(AskError::Failed { .. })));
    system.expect_failure("urn:uuid:*");
    system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn probe_is_reached_over_the_bus() -> TestResult {
    let (system, config) = (TestSystem::new(), Config::memory());
    start_proxy(&system, &config).await?;
    let log = probe(&system).await;
    let client = ProxyClient::connect(&config).await?;
    client.ask("log", Plain(1)).await?;
    client.tell("log", Plain(2)).await?;
    assert_eq!((log.expect().await.0, log.expect().await.0), (1, 2));
    let stranger = client.ask("log", Stranger).await;
    assert!(
        matches!(stranger, Err(AskError::Unhandled { .. })),
        "{stranger:?}"
    );

    Probe::<Socket>::spawn(&system).urn("sockets").await?;
    let stranger = client.ask("sockets", Stranger).await;
    assert!(
        matches!(stranger, Err(AskError::Unhandled { .. })),
        "{stranger:?}"
    );
    system.finish().await;
    Ok(())
}

#[tokio::test]
async fn probe_needs_a_free_urn() {
    let system = ActorSystem::new();
    let _log = probe(&system).await;
    let second = Probe::<Plain>::spawn(&system).urn("log").await;
    assert!(
        matches!(second, Err(SpawnError::UrnTaken { .. })),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_tasks_may_expect_at_once() -> TestResult {
    let system = TestSystem::new();
    let log = probe(&system).await;
    let recipient = log.recipient();
    tokio::spawn(async move {
        for n in 0..100 {
            recipient.tell(Plain(n)).await.expect("it lives");
        }
    });
    let expected = within(join_all((0..100).map(|_| log.expect()))).await;
    let mut numbers: Vec<_> = expected.iter().map(|note| note.0).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100));
    system.finish().await;
    Ok(())
}
