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
