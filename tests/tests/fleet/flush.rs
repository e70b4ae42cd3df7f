//! A Redis that loses all data under load.

use std::time::Duration;

use conclib::AskError;
use tokio::time::sleep;

use crate::fixture::Fleet;
use crate::load::Load;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The time after which requests are answered again.
const RECOVERY: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_back_soon_after_all_data_are_lost() {
    let fleet = Fleet::start(3, &["shared:desk", "listed:ledger"]).await;
    let [desk, ledger] = ["desk", "ledger"].map(|urn| Load::start(&fleet, urn, 16, TIMEOUT));
    sleep(Duration::from_millis(500)).await;
    fleet.bus.command(&["FLUSHALL"]).await;
    sleep(RECOVERY).await;
    for load in [desk, ledger] {
        let requests = load.stop().await;
        println!("lost data: {requests}");
        requests.assert_executed_at_most_once(&fleet);
    }

    for urn in ["ledger", "desk"] {
        let load = Load::start(&fleet, urn, 16, TIMEOUT);
        sleep(Duration::from_secs(1)).await;
        let requests = load.stop().await;
        println!("`{urn}` {RECOVERY:?} later: {requests}");
        let failures = requests.failures();
        assert!(
            failures.is_empty(),
            "{} failed: {:?}",
            failures.len(),
            failures[0]
        );
        requests.assert_executed_at_most_once(&fleet);
        let members = if urn == "desk" { 3 } else { 1 };
        assert_eq!(requests.by_member().len(), members, "{requests}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_name_stays_with_its_member_after_all_data_are_lost() {
    let fleet = Fleet::start(3, &["listed:ledger"]).await;
    let holder = fleet.ask("ledger", Duration::from_secs(10)).await.unwrap();
    for _ in 0..3 {
        let load = Load::start(&fleet, "ledger", 8, TIMEOUT);
        sleep(Duration::from_millis(500)).await;
        fleet.bus.command(&["FLUSHALL"]).await;
        sleep(RECOVERY).await;
        let requests = load.stop().await;
        println!("lost data, and a listed name: {requests}");
        requests.assert_executed_at_most_once(&fleet);
        let members: Vec<_> = requests.by_member().into_keys().collect();
        assert_eq!(members, [&*holder], "{requests}");
        // Its member lives: the name is not one that is missing.
        let failures = requests.failures();
        let is_missing = |end: &_| matches!(end, Err(AskError::ActorNotFound { .. }));
        let missing = failures.iter().find(|request| is_missing(&request.end));
        assert!(missing.is_none(), "{missing:?}");
    }
}
