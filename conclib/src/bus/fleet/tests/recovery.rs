//! Fleets whose members or map are lost, over the bus in memory, in paused time.

use futures_util::future::join_all;

use super::clients::{GetNode, killed, sharing};
use super::*;
use crate::bus::transport::fleet::MemberId;
use crate::system::ShutdownReport;

#[tokio::test(start_paused = true)]
async fn callers_wait_while_all_members_restart_at_once() {
    let config = Config::memory().fleet();
    for restarts_under_other_names in [false, true] {
        let start = async |generation: u32| {
            let nodes = ["a", "b", "c"].map(|node| {
                if restarts_under_other_names {
                    format!("{node}{generation}")
                } else {
                    node.to_owned()
                }
            });
            let mut systems = Vec::new();
            for node in nodes {
                systems.push(sharing(&config, &node, MS).await);
            }
            systems
        };
        let client = ProxyClient::connect(&config).await.unwrap();
        let systems = start(0).await;
        let restart = async {
            sleep(SECOND).await;
            let stopped = systems.iter().map(ActorSystem::shutdown);
            assert!(join_all(stopped).await.iter().all(ShutdownReport::is_clean));
            sleep(5 * SECOND).await;
            start(1).await
        };
        let callers = (0..16).map(|_| async {
            let begin = Instant::now();
            while begin.elapsed() < 8 * SECOND {
                let answer = client.ask("clerk", GetNode).timeout(20 * SECOND).await;
                assert!(answer.is_ok(), "{answer:?}");
            }
        });
        let (_, systems) = tokio::join!(join_all(callers), restart);
        for system in systems {
            assert!(system.shutdown().await.is_clean());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fleet_whose_members_were_killed_has_no_responder() {
    let config = Config::memory().fleet();
    let server = killed(&config, &["clerk"]).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    let start = Instant::now();
    for urn in ["clerk", "another"] {
        let answer = client.ask(urn, GetNode).timeout(60 * SECOND).await;
        assert_eq!(answer, Err(AskError::NoResponder));
    }
    assert!(start.elapsed() < 20 * SECOND, "{:?}", start.elapsed());
    assert_eq!(client.responder().await, Err(AskError::NoResponder));
    // From now on that is known.
    let start = Instant::now();
    assert!(client.ask("clerk", GetNode).await.is_err());
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    // A member that joins ends that.
    drop(server);
    let system = sharing(&config, "a", Duration::ZERO).await;
    assert_eq!(client.ask("clerk", GetNode).await, Ok("a".to_owned()));
    assert_eq!(client.responder().await, Ok(()));
    drop(system);
}

#[tokio::test(start_paused = true)]
async fn listed_name_stays_when_the_map_is_lost() {
    let config = Config::memory().fleet();
    let (_first, mine) = member(&config.clone().instance("a"), &["desk"]).await;
    until(&mine[0], Listing::Listed).await;
    let (_second, others) = member(&config.clone().instance("b"), &["desk"]).await;
    let stands_by = Listing::StandsBy { member: "a".into() };
    until(&others[0], stands_by.clone()).await;
    let map = map(&config).await;
    for (id, heartbeats) in map.counters().await.unwrap().heartbeats {
        assert!(map.remove(id, heartbeats).await.unwrap());
    }
    let start = Instant::now();
    while start.elapsed() < 20 * SECOND {
        assert_eq!(others[0].listing(), stands_by);
        sleep(100 * MS).await;
    }
    assert_eq!(mine[0].listing(), Listing::Listed);
}

#[tokio::test(start_paused = true)]
async fn listing_that_the_map_has_lost_is_written_again() {
    let config = Config::memory().fleet();
    let names: Vec<_> = (0..300).map(|number| format!("desk/{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (_system, desks) = member(&config, &names).await;
    for desk in &desks {
        until(desk, Listing::Listed).await;
    }
    let map = map(&config).await;
    let id = map.members().await.unwrap().all[0].id;
    let urns: Vec<_> = names.iter().map(|name| urn(name)).collect();
    map.unlist(id, &urns).await.unwrap();
    sleep(25 * SECOND).await;
    let other = map.join(&profile("other")).await.unwrap();
    let listed = map.list(other, &urns).await.unwrap();
    let listed = listed.unwrap();
    let back = listed
        .iter()
        .filter(|listed| **listed == ListOutcome::There(id));
    assert_eq!(back.count(), urns.len());
}

#[tokio::test(start_paused = true)]
async fn outage_of_the_map_removes_no_member() {
    let config = Config::memory().fleet();
    let (_system, desks) = member(&config, &["desk"]).await;
    until(&desks[0], Listing::Listed).await;
    let map = map(&config).await;
    let ids = async || -> Vec<MemberId> {
        let members = map.members().await.unwrap().all;
        members.iter().map(|member| member.id).collect()
    };
    let silent = map.join(&profile("silent")).await.unwrap();
    sleep(5 * SECOND).await;
    // The time passes without a heartbeat of either.
    tokio::time::advance(60 * SECOND).await;
    sleep(5 * SECOND).await;
    assert!(ids().await.contains(&silent));
    sleep(5 * SECOND).await;
    assert!(!ids().await.contains(&silent));
}
