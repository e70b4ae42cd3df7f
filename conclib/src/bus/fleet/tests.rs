//! Members over the bus in memory, in paused time.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::membership::{GONE_AFTER, Membership};
use crate::actor::Listing;
use crate::bus::config::Config;
use crate::bus::open::open_server;
use crate::bus::transport::fleet::{FleetMap, ListOutcome, MapVersion, MemberProfile, MemberState};
use crate::prelude::*;
use crate::system::SpawnError;
use crate::urn::Urn;

mod clients;
mod links;
mod recovery;
mod simulation;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Actor)]
struct Waiter;

#[handlers]
impl Waiter {}

/// A member with an actor of each name.
async fn member(config: &Config, names: &[&str]) -> (ActorSystem, Vec<ActorRef<Waiter>>) {
    let system = ActorSystem::new();
    let mut desks = Vec::new();
    for name in names {
        desks.push(system.spawn(Waiter).urn(*name).await.unwrap());
    }
    start_proxy(&system, config).await.unwrap();
    (system, desks)
}

/// The map, without a member.
async fn map(config: &Config) -> Arc<dyn FleetMap> {
    let server = open_server(&config.as_member(), &Arc::default()).await;
    server.unwrap().fleet()
}

fn profile(node: &str) -> MemberProfile {
    MemberProfile {
        node: node.to_owned(),
        process: [7; 6],
        state: MemberState::Serving,
        shared: Vec::new(),
    }
}

fn urn(name: &str) -> Urn {
    Urn::new(name).unwrap()
}

/// Waits until an actor's name has that place; returns the time that it took.
async fn until(desk: &ActorRef<Waiter>, expected: Listing) -> Duration {
    let start = Instant::now();
    while desk.listing() != expected {
        assert!(start.elapsed() < 60 * SECOND, "{:?}", desk.listing());
        sleep(10 * MS).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn name_is_listed_by_one_member_and_passed_on() {
    let config = Config::memory().fleet().instance("a");
    let (first, mine) = member(&config, &["desk", "till"]).await;
    for desk in &mine {
        until(desk, Listing::Listed).await;
    }
    let (second, others) = member(&config.instance("b"), &["desk"]).await;
    let stands_by = Listing::StandsBy { member: "a".into() };
    until(&others[0], stands_by.clone()).await;
    assert_eq!(stands_by.to_string(), "stands by for `a`");
    let snapshot = second.snapshot();
    assert_eq!(snapshot.actor("desk").unwrap().listing, stands_by);

    // The actor ends: its name is free.
    mine[0].stop();
    assert!(until(&others[0], Listing::Listed).await <= SECOND);
    // The other way round, by the end of the member.
    let again = first.spawn(Waiter).urn("desk").await.unwrap();
    until(&again, Listing::StandsBy { member: "b".into() }).await;
    let stopping = async {
        assert!(second.shutdown().await.is_clean());
    };
    let (waited, ()) = tokio::join!(until(&again, Listing::Listed), stopping);
    assert!(waited <= SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn names_of_a_member_that_is_gone_are_listed_by_another() {
    let config = Config::memory().fleet();
    let map = map(&config).await;
    let gone = map.join(&profile("gone")).await.unwrap();
    let names = [urn("desk"), urn("other")];
    assert_eq!(
        map.list(gone, &names).await.unwrap(),
        Some(vec![ListOutcome::Here; 2])
    );
    let start = Instant::now();
    let (_system, desks) = member(&config, &["desk"]).await;
    until(
        &desks[0],
        Listing::StandsBy {
            member: "gone".into(),
        },
    )
    .await;
    until(&desks[0], Listing::Listed).await;
    let waited = start.elapsed();
    assert!(GONE_AFTER < waited && waited <= 8 * SECOND, "{waited:?}");
    // The names that no member stands by for are swept.
    sleep(5 * SECOND).await;
    assert_eq!(map.counters().await.unwrap().unswept_since, MapVersion(0));
    assert_eq!(map.members().await.unwrap().all.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn member_that_is_taken_for_gone_joins_anew() {
    let config = Config::memory().fleet();
    let (_system, desks) = member(&config, &["desk"]).await;
    until(&desks[0], Listing::Listed).await;
    let map = map(&config).await;
    let (id, heartbeats) = map.counters().await.unwrap().heartbeats[0];
    assert!(map.remove(id, heartbeats).await.unwrap());
    let other = map.join(&profile("other")).await.unwrap();
    let taken = map.list(other, &[urn("desk")]).await.unwrap();
    assert_eq!(taken, Some(vec![ListOutcome::Here]));
    until(
        &desks[0],
        Listing::StandsBy {
            member: "other".into(),
        },
    )
    .await;
    sleep(GONE_AFTER).await; // it does not take names before, in case their members were lost with it
    map.heartbeat(other).await.unwrap();
    map.unlist(other, &[urn("desk")]).await.unwrap();
    assert!(until(&desks[0], Listing::Listed).await <= SECOND);
    let members = map.members().await.unwrap().all;
    assert!(members.iter().all(|member| member.id != id));
}

#[tokio::test(start_paused = true)]
async fn member_speaks_for_its_names_until_its_fence_closes() {
    let config = Config::memory().fleet();
    let system = ActorSystem::new();
    let membership = Membership::begin(system.core(), map(&config).await, "a").unwrap();
    assert!(!membership.speaks_for_names());
    membership.heartbeat_answered(Instant::now());
    sleep(5 * SECOND).await;
    assert!(membership.speaks_for_names());
    // One that was removed answers for no name before it has listed all of them again.
    membership.relist();
    assert!(!membership.speaks_for_names());
    membership.names_are_listed();
    assert!(membership.speaks_for_names());
    sleep(SECOND).await;
    assert!(!membership.speaks_for_names());
}

#[tokio::test(start_paused = true)]
async fn end_of_a_membership_ends_the_wait_for_a_name() {
    let config = Config::memory().fleet();
    let (_first, desks) = member(&config, &["desk"]).await;
    until(&desks[0], Listing::Listed).await;
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &config).await.unwrap();
    let spawn = system.spawn(Waiter).urn("desk").listed();
    let shutdown = async {
        sleep(SECOND).await;
        proxy.shutdown().await;
    };
    let (spawned, ()) = tokio::join!(timeout(5 * SECOND, spawn.into_future()), shutdown);
    assert_eq!(spawned.unwrap().unwrap().listing(), Listing::Local);
}

#[tokio::test(start_paused = true)]
async fn state_of_a_member_is_in_the_map() {
    let config = Config::memory().fleet();
    let map = map(&config).await;
    let (system, desks) = member(&config, &["desk"]).await;
    let states = async || {
        let members = map.members().await.unwrap();
        let states = members.all.iter().map(|member| member.profile.state);
        states.collect::<Vec<_>>()
    };
    until(&desks[0], Listing::Listed).await;
    sleep(MS).await;
    assert_eq!(states().await, [MemberState::Serving]);
    assert!(system.core().is_serving());
    assert!(system.shutdown().await.is_clean());
    assert!(!system.core().is_serving());
    assert_eq!(states().await, [MemberState::Left]);
    // It is removed by another one after a while.
    let (_other, _desks) = member(&config, &[]).await;
    sleep(55 * SECOND).await;
    assert_eq!(states().await.len(), 2);
    sleep(15 * SECOND).await;
    assert_eq!(states().await, [MemberState::Serving]);
}

#[tokio::test(start_paused = true)]
async fn listed_spawn_waits_for_its_name() {
    let config = Config::memory().fleet();
    let (first, desks) = member(&config, &["desk"]).await;
    until(&desks[0], Listing::Listed).await;
    let (second, _) = member(&config, &[]).await;
    let free = second.spawn(Waiter).urn("free").listed().await.unwrap();
    assert_eq!(free.listing(), Listing::Listed);
    let start = Instant::now();
    let refused = second.spawn(Waiter).urn("desk").listed().await.unwrap_err();
    assert!(
        matches!(
            &refused,
            SpawnError::UrnTaken {
                member: Some(_),
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(start.elapsed().as_secs(), 7);
    assert!(second.actor::<Waiter>("desk").is_err());
    // A name that becomes free meanwhile is taken.
    let (listed, ()) = tokio::join!(second.spawn(Waiter).urn("desk").listed(), async {
        sleep(SECOND).await;
        desks[0].stop();
    });
    assert_eq!(listed.unwrap().listing(), Listing::Listed);
    // Names that no other process looks for wait for nothing.
    let own = second.spawn(Waiter).listed();
    assert_eq!(
        timeout(MS, own).await.unwrap().unwrap().listing(),
        Listing::Local
    );
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn only_named_public_roots_are_listed() {
    #[derive(Actor)]
    #[actor(urn = "hidden", private)]
    struct Hidden;

    #[handlers]
    impl Hidden {}

    let config = Config::memory().fleet();
    let (system, _) = member(&config, &[]).await;
    let hidden = system.spawn(Hidden).await.unwrap();
    let generated = system.spawn(Waiter).await.unwrap();
    let shared = system
        .spawn(Waiter)
        .urn("shared")
        .shared()
        .listed()
        .await
        .unwrap();
    sleep(SECOND).await;
    assert_eq!(hidden.listing(), Listing::Local);
    assert_eq!(generated.listing(), Listing::Local);
    assert_eq!(shared.listing(), Listing::Shared);
    let map = map(&config).await;
    let members = map.members().await.unwrap();
    assert_eq!(members.all[0].profile.shared, [urn("shared")]);
    shared.stop();
    shared.stopped().await;
    sleep(MS).await;
    assert!(
        map.members().await.unwrap().all[0]
            .profile
            .shared
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn system_is_in_one_fleet_at_a_time() {
    let config = Config::memory().fleet();
    let (system, _) = member(&config, &[]).await;
    let second = start_proxy(&system, &config).await;
    assert!(
        second
            .unwrap_err()
            .to_string()
            .contains("member of one already")
    );
    // A node of its own is no membership.
    assert!(start_proxy(&system, &config.node("eu-1")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn many_names_are_listed_and_freed_in_batches() {
    let config = Config::memory().fleet();
    let system = ActorSystem::new();
    let spawn = async |from: usize, to: usize| {
        let mut desks = Vec::new();
        for number in from..to {
            desks.push(
                system
                    .spawn(Waiter)
                    .urn(format!("desk/{number}"))
                    .await
                    .unwrap(),
            );
        }
        desks
    };
    let mut desks = spawn(0, 2_000).await;
    start_proxy(&system, &config).await.unwrap();
    desks.extend(spawn(2_000, 4_000).await);
    for desk in &desks {
        until(desk, Listing::Listed).await;
    }
    let map = map(&config).await;
    let other = map.join(&profile("other")).await.unwrap();
    desks.iter().for_each(ActorRef::stop);
    sleep(SECOND).await;
    let names: Vec<_> = desks.iter().map(|desk| desk.urn().clone()).collect();
    for names in names.chunks(500) {
        let listed = map.list(other, names).await.unwrap();
        assert_eq!(listed, Some(vec![ListOutcome::Here; names.len()]));
    }
}

#[tokio::test(start_paused = true)]
async fn listed_spawn_before_the_member_serves_waits_for_nothing() {
    let config = Config::memory().fleet();
    let system = ActorSystem::new();
    let lease = crate::bus::acquire_lease(&system, &config).await.unwrap();
    let spawn = system.spawn(Waiter).urn("desk").listed();
    let desk = timeout(SECOND, spawn).await.unwrap().unwrap();
    assert_eq!(desk.listing(), Listing::Pending);
    lease.serve().await.unwrap();
    until(&desk, Listing::Listed).await;
}
