//! Many spawns of actors with names to be listed.

use std::time::{Duration, Instant};

use conclib::actor::Listing;
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::eventually;
use conclib_tests::redis::PersistentRedis;

const SPAWNS: usize = 20_000;

/// The bound of all spawns, with room for a busy machine: if each waited for Redis, the sum were longer.
const BOUND: Duration = Duration::from_secs(30);

#[derive(Actor)]
#[actor(mailbox = 1)]
struct Idle;

#[handlers]
impl Idle {}

/// Spawns that many actors in a loop.
async fn spawn(system: &ActorSystem, count: usize) -> Vec<ActorRef<Idle>> {
    let start = Instant::now();
    let mut actors = Vec::with_capacity(count);
    for number in 0..count {
        let actor = system.spawn(Idle).urn(format!("idle-{number}")).await;
        actors.push(actor.unwrap());
    }
    let took = start.elapsed();
    println!("{count} spawns in {took:.1?}");
    assert!(took < BOUND, "{took:?}");
    actors
}

/// Waits until every name is listed.
async fn all_are_listed(actors: &[ActorRef<Idle>]) {
    let start = Instant::now();
    let mut listed = 0;
    eventually("all names are listed", async || {
        let rest = actors[listed..].iter();
        listed += rest
            .take_while(|actor| actor.listing() == Listing::Listed)
            .count();
        listed == actors.len()
    })
    .await;
    println!("{listed} names listed {:.1?} later", start.elapsed());
}

async fn spawns_before_the_proxy(count: usize) {
    let bus = Bus::redis().await;
    let system = ActorSystem::new();
    let actors = spawn(&system, count).await;
    let proxy = start_proxy(&system, &bus.config.clone().fleet()).await;
    all_are_listed(&actors).await;
    drop(proxy.unwrap());
}

async fn spawns_after_the_proxy(count: usize) {
    let bus = Bus::redis().await;
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &bus.config.clone().fleet()).await;
    let actors = spawn(&system, count).await;
    all_are_listed(&actors).await;
    drop(proxy.unwrap());
}

async fn spawns_without_redis(count: usize) {
    let mut redis = PersistentRedis::start().await;
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &redis.config().fleet()).await;
    redis.kill().await;
    let actors = spawn(&system, count).await;
    let is_listed = |actor: &ActorRef<_>| actor.listing() == Listing::Listed;
    assert!(!actors.iter().any(is_listed));
    redis.start_again().await;
    all_are_listed(&actors).await;
    drop(proxy.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_spawns_before_the_proxy_are_listed() {
    spawns_before_the_proxy(SPAWNS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_spawns_after_the_proxy_are_listed() {
    spawns_after_the_proxy(SPAWNS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawns_do_not_wait_for_an_absent_redis() {
    spawns_without_redis(SPAWNS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long without optimization"]
async fn hundred_thousand_names_are_listed() {
    const MANY: usize = 100_000;
    spawns_before_the_proxy(MANY).await;
    spawns_after_the_proxy(MANY).await;
    spawns_without_redis(MANY).await;
}
