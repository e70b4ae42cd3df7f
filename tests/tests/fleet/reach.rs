//! Actors that a client reaches by their names, by their nodes, or not.

use std::time::{Duration, Instant};

use conclib::AskError;

use crate::fixture::Fleet;

const TIMEOUT: Duration = Duration::from_secs(10);

fn is_missing(end: &Result<String, AskError>) -> bool {
    matches!(end, Err(AskError::ActorNotFound { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_actor_is_reached_neither_by_name_nor_by_node() {
    let fleet = Fleet::start(2, &["listed:desk", "private:private"]).await;
    let by_name = fleet.ask("private", TIMEOUT).await;
    assert!(is_missing(&by_name), "{by_name:?}");
    let by_node = fleet.ask_at("m-1", "private").await;
    assert!(is_missing(&by_node), "{by_node:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_and_workers_are_reached_by_their_node_only() {
    let fleet = Fleet::start(2, &["shared:desk", "parent:parent", "pool:pool"]).await;
    for urn in ["parent", "pool"] {
        fleet.ask(urn, TIMEOUT).await.unwrap();
    }
    for urn in ["parent-child", "pool/1", "pool/2"] {
        let by_name = fleet.ask(urn, TIMEOUT).await;
        assert!(is_missing(&by_name), "{urn}: {by_name:?}");
        // Also at a member whose parent or pool stands by.
        for member in ["m-1", "m-2"] {
            let by_node = fleet.ask_at(member, urn).await;
            assert_eq!(by_node.as_deref(), Ok(member), "{urn}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_name_is_reported_soon_beside_members_that_only_share_names() {
    let fleet = Fleet::start(2, &["shared:desk"]).await;
    let start = Instant::now();
    let missing = fleet.ask("missing", TIMEOUT).await;
    assert!(is_missing(&missing), "{missing:?}");
    assert!(start.elapsed() < TIMEOUT / 2, "{:?}", start.elapsed());
}
