//! A request that the gate of a process holds in its handler.

use std::time::Duration;

use conclib::{AskError, ProxyClient};
use conclib_tests::messages::{Double, Enter};
use futures_util::poll;
use tokio::task::JoinHandle;

/// Asks the gate, and returns once the process has taken the request: a later one was answered.
pub(crate) async fn hold(
    client: &ProxyClient,
    timeout: Duration,
) -> JoinHandle<Result<u32, AskError>> {
    let asking = client.ask("gate", Enter { n: 1 }).timeout(timeout);
    let mut asking = Box::pin(asking.into_future());
    assert!(poll!(&mut asking).is_pending(), "it is sent first");
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    tokio::spawn(asking)
}
