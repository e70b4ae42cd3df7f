//! Restarts of members under load.

use std::time::Duration;

use tokio::time::sleep;

use crate::fixture::Fleet;
use crate::load::Load;

const MEMBERS: usize = 5;

const CALLERS: usize = 64;

/// The timeout of a request during restarts.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A load on a fleet whose members share a name, after some calm.
async fn fleet_under_load() -> (Fleet, Load) {
    let fleet = Fleet::start(MEMBERS, &["shared:desk"]).await;
    let load = Load::start(&fleet, "desk", CALLERS, TIMEOUT);
    sleep(Duration::from_millis(300)).await;
    (fleet, load)
}

/// Ends the load after some calm, and checks that no request has failed.
async fn assert_none_failed(fleet: &Fleet, load: Load, restart: &str) {
    sleep(Duration::from_millis(500)).await;
    let requests = load.stop().await;
    println!("{restart}: {requests}");
    let failures = requests.failures();
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures[0]
    );
    requests.assert_executed_at_most_once(fleet);
    let load = Load::start(fleet, "desk", CALLERS, TIMEOUT);
    sleep(Duration::from_millis(500)).await;
    let requests = load.stop().await;
    assert_eq!(requests.by_member().len(), MEMBERS, "{requests}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_fails_no_request() {
    let (mut fleet, load) = fleet_under_load().await;
    for _ in 0..MEMBERS {
        let former = fleet.members.remove(0);
        let name = former.name.clone();
        former.stop().await;
        let member = fleet.start_member(&name).await;
        fleet.members.push(member);
    }
    assert_none_failed(&fleet, load, "rolling restart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_members_by_new_ones_fails_no_request() {
    let (mut fleet, load) = fleet_under_load().await;
    for number in 1..=MEMBERS {
        let member = fleet.start_member(&format!("next-{number}")).await;
        fleet.members.push(member);
        fleet.members.remove(0).stop().await;
    }
    assert_none_failed(&fleet, load, "replacement by new members").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_of_all_members_at_once_fails_no_request() {
    let (mut fleet, load) = fleet_under_load().await;
    let names: Vec<_> = fleet
        .members
        .iter()
        .map(|member| member.name.clone())
        .collect();
    for member in &fleet.members {
        member.program.signal("TERM").await;
    }
    for mut member in fleet.members.drain(..) {
        assert!(member.program.ended().await, "{} stops well", member.name);
    }
    sleep(Duration::from_secs(1)).await;
    for name in names {
        let member = fleet.start_member(&name).await;
        fleet.members.push(member);
    }
    assert_none_failed(&fleet, load, "restart of all members at once").await;
}
