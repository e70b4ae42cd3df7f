//! Strategies: the members that restart, and their order.

use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib::supervision::Backoff;
use conclib::supervisor::Strategy;
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::fail;
use conclib_tests::{Log, TestResult, gate, poll_once, settle, within};

use super::{A_AGAIN, B_FAILS, C_AGAIN, News, SECOND, spawn, started, text, three};

#[tokio::test(start_paused = true)]
async fn group_starts_in_order_and_stops_in_reverse() -> TestResult {
    let (system, group, mut news) = started(Strategy::OneForOne).await?;
    group.stop();
    within(group.stopped()).await;
    let stops = |name: &str| format!("{name} stops: its parent stopped");
    assert_eq!(news.get(), [stops("c"), stops("b"), stops("a")]);
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_failed_member() -> TestResult {
    let (system, _group, mut news) = started(Strategy::OneForOne).await?;
    within(system.ask("b", fail())).await.unwrap_err();
    settle().await;
    assert_eq!(news.get(), [B_FAILS, "b starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_for_all_stops_in_reverse_and_starts_in_order() -> TestResult {
    let (system, _group, mut news) = started(Strategy::OneForAll).await?;
    within(system.ask("b", fail())).await.unwrap_err();
    settle().await;
    let starts = ["a starts", "b starts", "c starts"];
    assert_eq!(
        news.get(),
        [&[B_FAILS, C_AGAIN, A_AGAIN], &starts[..]].concat()
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_later_members() -> TestResult {
    let (system, _group, mut news) = started(Strategy::RestForOne).await?;
    within(system.ask("b", fail())).await.unwrap_err();
    settle().await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN, "b starts", "c starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn restarted_member_finishes_its_message_and_keeps_the_queue() -> TestResult {
    let (system, _group, mut news) = started(Strategy::OneForAll).await?;
    let (hold, mut keeper) = gate();
    let mut in_hand = system.ask("a", Pass(hold));
    assert!(poll_once(&mut in_hand).await.is_pending());
    keeper.reached().await;
    system.tell("a", note("waits")).await?;
    system.tell("b", fail()).await?;
    settle().await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN]);
    keeper.open();
    assert_eq!(within(in_hand).await, Ok(()));
    settle().await;
    let rest = [A_AGAIN, "a starts", "a waits", "b starts", "c starts"];
    let mut seen = news.get();
    assert_eq!(seen.len(), rest.len());
    // Waiting messages are handled while the next members start.
    seen.sort();
    let mut rest = text(&rest);
    rest.sort();
    assert_eq!(seen, rest);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_failures_at_once_cost_one_restart() -> TestResult {
    let (system, group, mut news) = started(Strategy::OneForAll).await?;
    system.tell("a", fail()).await?;
    system.tell("c", fail()).await?;
    settle().await;
    let starts = news.get().split_off(2);
    let expected = [
        "b stops: its group restarts",
        "a starts",
        "b starts",
        "c starts",
    ];
    assert_eq!(starts, expected);
    let members = within(group.children()).await?;
    assert!(members.iter().all(|member| member.phase == Phase::Running));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn group_waits_for_the_backoff_of_the_failed_member() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = three(Strategy::OneForAll, &log).backoff(Backoff::from_secs(10));
    let group = spawn(&system, group).await?;
    let mut news = News(log, 3);
    system.tell("b", fail()).await?;
    tokio::time::sleep(4 * SECOND).await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN, A_AGAIN]);
    // The supervisor answers meanwhile.
    let members = within(group.children()).await?;
    assert!(
        members
            .iter()
            .all(|member| member.phase == Phase::Restarting)
    );
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(news.get(), ["a starts", "b starts", "c starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_for_one_members_do_not_wait_for_each_others_backoff() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let backoff = Backoff::from_secs(10).up_to(20 * SECOND);
    let group = three(Strategy::OneForOne, &log).backoff(backoff);
    spawn(&system, group).await?;
    let mut news = News(log, 3);
    system.tell("a", fail()).await?;
    tokio::time::sleep(4 * SECOND).await;
    system.tell("c", fail()).await?; // waits for 10 to 20 s
    tokio::time::sleep(7 * SECOND).await;
    let fails = |name: &str| format!("{name} fails: panicked: on purpose");
    assert_eq!(news.get(), [fails("a"), fails("c"), "a starts".to_owned()]);
    tokio::time::sleep(14 * SECOND).await;
    assert_eq!(news.get(), ["c starts"]);
    Ok(())
}
