//! Tests of processes that have an instance: they look at the lease after each read.

use super::*;

fn config() -> Config {
    Config::memory().instance("gate-0")
}

#[tokio::test(start_paused = true)]
async fn failed_looks_at_the_lease_delay_messages_for_a_moment_and_keep_their_order() {
    let stage = Stage::set(config()).await;
    stage.permits.add_permits(9);
    stage.script.fail("owner", 4);
    let start = Instant::now();
    stage.tell(0..2, 0).await;
    stage.tell(2..4, 0).await;
    assert_eq!(stage.let_pass(4).await, [0, 1, 2, 3]);
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    assert_eq!(lock(&stage.script.failing)["owner"], 0);
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_looks_at_the_lease_count_no_deliveries_of_claimed_messages() {
    let stage = Stage::set(config().max_deliveries(2)).await;
    stage.tell(0..600, 0).await; // most are deferred, and claimed again later
    stage.script.fail("owner", 5);
    let expected: Vec<_> = (0..600).collect();
    assert_eq!(stage.let_pass(600).await, expected);
    assert_eq!(lock(&stage.script.failing)["owner"], 0);
    assert_eq!(stage.dead().await, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_read_before_the_lease_is_lost_are_delivered_in_the_next_term() {
    let stage = Stage::set(config()).await;
    stage.permits.add_permits(9);
    stage.script.fail("owner", usize::MAX);
    stage.tell(0..2, 0).await;
    stage.lose_the_lease().await;
    stage.script.fail("owner", 0);
    stage.tell(2..3, 0).await;
    sleep(6 * SECOND).await; // the longest pause between two looks
    assert_eq!(*lock(&stage.passed), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn stop_amid_a_look_at_the_lease_releases_the_messages() {
    let stage = Stage::set(config()).await;
    *lock(&stage.script.owner_pause) = SECOND / 2;
    stage.tell(0..2, 0).await; // they are read, and the look is under way
    assert!(stage.system.shutdown().await.is_clean());
    assert_eq!(stage.left().await, [0, 0]);
    // Also a process of another instance need not wait for the visibility time.
    let next = Stage::set(stage.config.clone().instance("gate-1")).await;
    next.permits.add_permits(9);
    sleep(SECOND).await;
    assert_eq!(*lock(&next.passed), [0, 1]);
}
