//! Requests arrive, and so do their answers.

use std::time::Duration;

use conclib::{AskError, ProxyClient};
use conclib_tests::bus::BusFixture;
use conclib_tests::eventually;
use conclib_tests::messages::{
    Declined, Double, Forget, Hold, Record, Recorded, Release, Stranger, Trace, Withdraw,
};
use tokio::task::JoinSet;

use crate::refusals::other;

pub(crate) async fn ask_is_answered(fixture: BusFixture) {
    let client = &fixture.client;
    assert_eq!(client.ask("worker", Double { n: 21 }).await, Ok(42));
    let short = client.ask("worker", Double { n: 1 });
    assert_eq!(short.timeout(Duration::from_secs(10)).await, Ok(2));
    assert_eq!(client.in_flight(), 0);
}

pub(crate) async fn tell_arrives(fixture: BusFixture) {
    let client = &fixture.client;
    client.tell("worker", Record { n: 3 }).await.unwrap();
    client.tell("worker", Double { n: 3 }).await.unwrap(); // the response is dropped
    client.ask("worker", Record { n: 4 }).await.unwrap();
    assert_eq!(client.ask("worker", Recorded).await, Ok(vec![3, 4]));
    assert_eq!(client.in_flight(), 0);
}

pub(crate) async fn many_callers_share_a_client(fixture: BusFixture) {
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let client = fixture.client.clone();
        callers.spawn(async move {
            for number in 0..50 {
                let n = caller * 1000 + number;
                assert_eq!(client.ask("worker", Double { n }).await, Ok(n * 2));
            }
        });
    }
    callers.join_all().await;
    assert_eq!(fixture.client.in_flight(), 0);
}

pub(crate) async fn business_error_is_an_answer(fixture: BusFixture) {
    let client = &fixture.client;
    let withdraw = |cents| client.ask("worker", Withdraw { cents });
    assert_eq!(withdraw(30).await, Ok(Ok(70)));
    assert_eq!(withdraw(130).await, Ok(Err(Declined { missing: 30 })));
}

pub(crate) async fn reply_may_come_late(fixture: BusFixture) {
    let client = &fixture.client;
    let held = tokio::spawn(client.ask("holder", Hold));
    let again = tokio::spawn(client.ask("holder", Hold));
    eventually("both are sent", async || client.in_flight() == 2).await;
    // The actor continues meanwhile.
    assert_eq!(client.ask("holder", Forget).await, Err(AskError::NoReply));
    assert!(!held.is_finished() && !again.is_finished());
    assert_eq!(client.ask("holder", Release { n: 5 }).await, Ok(2));
    assert_eq!(held.await.unwrap(), Ok(5));
    assert_eq!(again.await.unwrap(), Ok(5));
}

pub(crate) async fn attributes_arrive(fixture: BusFixture) {
    let ask = fixture.client.ask("raw", Trace);
    let ask = ask.attribute("trace", "abc").attribute("größe", "1, 2\n");
    assert_eq!(ask.await.as_deref(), Ok("größe=1, 2\n,trace=abc"));
    assert_eq!(fixture.client.ask("raw", Trace).await.as_deref(), Ok(""));
}

pub(crate) async fn raw_handler_takes_every_message(fixture: BusFixture) {
    let client = &fixture.client;
    assert_eq!(client.ask("raw", Double { n: 4 }).await, Ok(8));
    assert_eq!(client.ask("raw", Hold).await, Ok(7));
    assert_eq!(client.ask("raw", Forget).await, Err(AskError::NoReply));
    match client.ask("raw", Stranger).await {
        Err(AskError::Unhandled { urn, message }) => {
            assert_eq!((urn.as_str(), &*message), ("raw", "Stranger"));
        }
        other => panic!("{other:?}"),
    }
    match client
        .ask(
            "raw",
            other::Double {
                text: String::new(),
            },
        )
        .await
    {
        Err(AskError::BadRequest { reason }) => assert!(reason.contains("Double"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.ask("raw", Double { n: 5 }).await, Ok(10));
}

pub(crate) async fn tells_of_one_client_arrive_in_order(fixture: BusFixture) {
    const COUNT: u32 = 5_000;
    let client = &fixture.client;
    // Sent one after another, but without a wait for the bus between two of them.
    let tells = (0..COUNT).map(|n| client.tell("worker", Record { n }));
    for told in futures_util::future::join_all(tells).await {
        told.unwrap();
    }
    let recorded = client.ask("worker", Recorded).await.unwrap();
    assert_eq!(recorded.len(), COUNT as usize);
    assert!(recorded.into_iter().eq(0..COUNT));
}

pub(crate) async fn clients_do_not_receive_answers_of_other_clients(fixture: BusFixture) {
    let mut callers = JoinSet::new();
    for caller in 0..8_u32 {
        let config = fixture.bus.config.clone();
        callers.spawn(async move {
            let client = ProxyClient::connect(&config).await.unwrap();
            let asks = (0..200).map(|n| client.ask("worker", Double { n: n + caller }));
            let answers = futures_util::future::join_all(asks).await;
            for (n, answer) in (0..).zip(answers) {
                assert_eq!(answer, Ok((n + caller) * 2));
            }
        });
    }
    callers.join_all().await;
}
