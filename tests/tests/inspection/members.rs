//! Fleets, and peers of other versions.

use std::time::Duration;

use conclib::inspect::{ActorsQuery, InspectError, Inspector, MemberStage, Sort, StatusQuery};
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
use conclib_tests::{ASK_TIMEOUT, eventually};

use crate::urn;

#[derive(Actor)]
struct Worker;

#[handlers]
impl Worker {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }
}

async fn member(config: &Config, instance: &str, actors: u32) -> ActorSystem {
    let system = ActorSystem::new();
    for number in 0..actors {
        let name = format!("{instance}/{number}");
        system.spawn(Worker).urn(name).await.unwrap();
    }
    let config = config.clone().instance(instance);
    start_proxy(&system, &config).await.unwrap();
    system
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_fleet_are_asked_together() {
    for bus in [Bus::memory(), Bus::redis().await] {
        let config = bus.config.clone().fleet();
        let _one = member(&config, "one", 3).await;
        let two = member(&config, "two", 5).await;
        let inspector = Inspector::connect(&config).await.unwrap();
        eventually("both are members", async || {
            let members = inspector.members().await.unwrap();
            let serving = members.iter();
            serving
                .filter(|member| member.stage == Some(MemberStage::Serving))
                .count()
                == 2
        })
        .await;
        let query = ActorsQuery::new().sort(Sort::Name).limit(4);
        let merged = inspector.actors(&query).await.unwrap();
        let names = merged
            .actors
            .iter()
            .map(|of| (of.node.as_str(), of.actor.urn.as_str()));
        let expected = [
            ("one", "one/0"),
            ("one", "one/1"),
            ("one", "one/2"),
            ("two", "two/0"),
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert_eq!(
            (merged.total, merged.matching, merged.silent.len()),
            (8, 8, 0)
        );
        let (node, _) = inspector.find(urn("two/4")).await.unwrap();
        assert_eq!(node, "two");
        let all = inspector.ask_all(&StatusQuery::default()).await.unwrap();
        assert!(
            all.iter()
                .all(|from| from.outcome.as_ref().unwrap().in_fleet)
        );
        // One that is gone is not asked; one that is silent is named.
        assert!(two.shutdown().await.is_clean());
        eventually("it has left", async || {
            let merged = inspector.actors(&query).await.unwrap();
            merged.total == 3 && merged.silent.len() <= 1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_member_is_named() {
    let bus = Bus::redis().await;
    let config = bus.config.clone().fleet();
    let _one = member(&config, "one", 1).await;
    let inspector = Inspector::connect(&config).await.unwrap();
    eventually("it is a member", async || {
        !inspector.members().await.unwrap().is_empty()
    })
    .await;
    // Its lease stands, and no process takes its requests.
    let lease = "conclib:{n:ghost}:lease";
    let address = bus.address();
    let copied = ["COPY", "conclib:{n:one}:lease", lease].map(str::as_bytes);
    conclib_tests::redis::send_command(address, &copied)
        .await
        .unwrap();
    let short = inspector.clone().timeout(Duration::from_millis(200));
    let silent = short.ask("ghost", &StatusQuery::default()).await;
    assert!(
        matches!(silent, Err(InspectError::Timeout { .. })),
        "{silent:?}"
    );
    let inspector = inspector.timeout(ASK_TIMEOUT);
    assert!(inspector.ask("one", &StatusQuery::default()).await.is_ok());
}
