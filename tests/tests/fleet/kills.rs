//! A member that is killed under load.

use std::time::{Duration, Instant};

use conclib::AskError;
use conclib::error::Delivered;
use tokio::time::sleep;

use crate::fixture::Fleet;
use crate::load::{Load, Request};

const CALLERS: usize = 64;

/// Longer than the time after which requests that a killed member had not taken go to another one.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The time in which Redis may still give a request to the closed connection of a killed member.
const CLOSING: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_member_fails_only_the_requests_that_it_had_taken() {
    let mut fleet = Fleet::start(3, &["shared:desk"]).await;
    let load = Load::start(&fleet, "desk", CALLERS, TIMEOUT);
    sleep(Duration::from_millis(500)).await;
    let mut killed = fleet.take("m-2");
    killed.program.kill().await;
    let kill = Instant::now();
    fleet.ask("desk", TIMEOUT).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let requests = load.stop().await;
    println!("a kill: {requests}");

    let had_taken = |request: &Request| request.start < kill + CLOSING;
    for request in requests.failures() {
        let Err(AskError::Timeout { delivered }) = request.end else {
            panic!("{request:?}");
        };
        assert_ne!(delivered, Delivered::No, "{request:?}");
        assert!(had_taken(request), "{request:?}");
    }
    // As many as were under way: those of the other members do not count.
    assert!(requests.failures().len() <= CALLERS, "{requests}");
    requests.assert_executed_at_most_once(&fleet);

    let load = Load::start(&fleet, "desk", CALLERS, TIMEOUT);
    sleep(Duration::from_millis(500)).await;
    let requests = load.stop().await;
    assert!(requests.failures().is_empty(), "{requests}");
    assert_eq!(requests.by_member().len(), 2, "{requests}");
}
