//! Names that one member has listed.

use std::time::{Duration, Instant};

use conclib::error::Delivered;
use conclib_tests::eventually;
use tokio::time::sleep;

use crate::fixture::Fleet;
use crate::load::Load;

/// Longer than a name moves after a kill.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The member that has a name.
async fn holder(fleet: &Fleet, urn: &str) -> String {
    fleet.ask(urn, TIMEOUT).await.unwrap()
}

/// The time until the name has an answer of another member.
async fn moves(fleet: &Fleet, urn: &str, from: &str) -> Duration {
    let start = Instant::now();
    assert_ne!(holder(fleet, urn).await, from);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actor_that_stands_by_answers_soon_after_an_orderly_stop() {
    let mut fleet = Fleet::start(3, &["listed:ledger"]).await;
    for _ in 0..2 {
        let former = holder(&fleet, "ledger").await;
        let load = Load::start(&fleet, "ledger", 8, TIMEOUT);
        sleep(Duration::from_millis(200)).await;
        fleet.take(&former).stop().await;
        let took = moves(&fleet, "ledger", &former).await;
        let requests = load.stop().await;
        println!("a listed name after an orderly stop: {took:.1?}; {requests}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        for request in requests.failures() {
            let error = request.end.as_ref().unwrap_err();
            assert_eq!(error.delivered(), Delivered::No, "{request:?}");
        }
        requests.assert_executed_at_most_once(&fleet);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actor_that_stands_by_answers_after_a_kill() {
    let mut fleet = Fleet::start(2, &["listed:ledger"]).await;
    let former = holder(&fleet, "ledger").await;
    fleet.take(&former).program.kill().await;
    let took = moves(&fleet, "ledger", &former).await;
    println!("a listed name after a kill: {took:.1?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_name_that_a_member_lists_counts_as_listed() {
    let mut fleet = Fleet::start(2, &["shared:desk"]).await;
    assert_ne!(holder(&fleet, "desk").await, "lister");
    let lister = fleet.start_member_with("lister", &["listed:desk"]).await;
    eventually("the name is listed", async || {
        holder(&fleet, "desk").await == "lister"
    })
    .await;
    for _ in 0..50 {
        assert_eq!(holder(&fleet, "desk").await, "lister");
    }

    let load = Load::start(&fleet, "desk", 8, TIMEOUT);
    lister.stop().await;
    sleep(Duration::from_secs(2)).await;
    let requests = load.stop().await;
    println!("a listed name that others share, after a stop: {requests}");
    assert!(requests.failures().is_empty(), "{:?}", requests.failures());
    let load = Load::start(&fleet, "desk", 8, TIMEOUT);
    sleep(Duration::from_millis(300)).await;
    let requests = load.stop().await;
    assert_eq!(requests.by_member().len(), 2, "{requests}");
    assert!(!requests.by_member().contains_key("lister"), "{requests}");
    fleet.members.clear();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orderly_stop_fails_no_request_for_a_listed_name() {
    let mut fleet = Fleet::start(5, &["listed:ledger"]).await;
    let load = Load::start(&fleet, "ledger", 32, TIMEOUT);
    for _ in 0..4 {
        sleep(Duration::from_millis(300)).await;
        let former = holder(&fleet, "ledger").await;
        fleet.take(&former).stop().await;
    }
    sleep(Duration::from_secs(2)).await;
    let requests = load.stop().await;
    println!("a listed name after four orderly stops: {requests}");
    assert!(requests.failures().is_empty(), "{:?}", requests.failures());
    requests.assert_executed_at_most_once(&fleet);
}
