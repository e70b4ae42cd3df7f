//! Tests of a client whose bus is cut.

use futures_util::future::join_all;
use serde_bytes::ByteBuf;

use super::*;
use crate::prelude::*;
use crate::test::Faults;
use crate::{Config, ProxyClient};

const SECOND: Duration = Duration::from_secs(1);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable)]
struct Load(ByteBuf);

#[tokio::test(start_paused = true)]
async fn messages_without_waiting_callers_are_dropped() {
    const MIB: usize = 1024 * 1024;
    let faults = Faults::seeded(1);
    let client = ProxyClient::connect(&Config::memory().faults(faults.clone())).await;
    let client = client.unwrap();
    faults.cut();
    let load = |size| Load(ByteBuf::from(vec![7; size]));
    // This message is in front of the others.
    let patient = client.tell("absent", load(1)).timeout(600 * SECOND);
    let patient = tokio::spawn(patient.into_future());
    for _ in 0..10 {
        let told = (0..50).map(|_| client.tell("absent", load(MIB)).timeout(SECOND / 100));
        assert!(join_all(told).await.iter().all(Result::is_err));
        let state = client.shared().producer.lock();
        let frames = state.entries.iter().map(|entry| entry.message.frame.len());
        assert_eq!(state.bytes, frames.sum::<usize>());
        assert!(state.bytes <= SWEEP_FACTOR * MAX_BYTES, "{}", state.bytes);
    }
    assert_eq!(client.in_flight(), 1);
    faults.calm();
    patient.await.unwrap().unwrap();
    sleep(SECOND).await;
    let state = client.shared().producer.lock();
    assert_eq!((state.entries.len(), state.bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn store_timeout_tells_that_nothing_was_stored() {
    let faults = Faults::seeded(1);
    let config = Config::memory().faults(faults.clone());
    let client = ProxyClient::connect(&config).await.unwrap();
    let load = || Load(ByteBuf::new());
    faults.cut();
    let start = Instant::now();
    let told = client
        .tell("absent", load())
        .store_timeout(SECOND / 2)
        .timeout(60 * SECOND);
    let asked = client.ask("absent", load()).timeout(60 * SECOND);
    let (told, asked) = tokio::join!(told, asked.store_timeout(SECOND / 2));
    assert!(
        matches!(told, Err(AskError::Unavailable { .. })),
        "{told:?}"
    );
    assert!(
        matches!(asked, Err(AskError::Unavailable { .. })),
        "{asked:?}"
    );
    assert!(start.elapsed() <= SECOND / 2);
    faults.calm();
    sleep(2 * SECOND).await;
    assert_eq!(client.shared().transport.len().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn stored_message_is_waited_for_beyond_the_store_timeout() {
    let config = Config::memory();
    let client = ProxyClient::connect(&config).await.unwrap();
    let start = Instant::now();
    let ask = client
        .ask("absent", Load(ByteBuf::new()))
        .store_timeout(SECOND / 2);
    let delivered = Delivered::Stored;
    assert_eq!(ask.await, Err(AskError::Timeout { delivered }));
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Plain;

#[tokio::test(start_paused = true)]
async fn store_timeout_is_for_durable_messages() {
    let client = ProxyClient::connect(&Config::memory()).await.unwrap();
    let told = client.tell("absent", Plain).store_timeout(SECOND).await;
    assert!(matches!(told, Err(AskError::BadRequest { .. })), "{told:?}");
    // The order of the calls makes no difference.
    let told = client.tell("absent", Plain).store_timeout(SECOND).durable();
    assert_eq!(told.await, Ok(()));
}
