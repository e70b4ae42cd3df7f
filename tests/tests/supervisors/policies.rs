//! Members that end for good, and members that restart.

use conclib::prelude::*;
use conclib::supervision::{Backoff, Restart};
use conclib::supervisor::{Strategy, Supervisor};
use conclib_tests::messages::note;
use conclib_tests::scripted::{ScriptedActor, fail, run};
use conclib_tests::{Log, TestResult, settle, within};

use super::{A_AGAIN, B_FAILS, C_AGAIN, News, member, spawn, started};

#[tokio::test(start_paused = true)]
async fn member_stopped_or_killed_from_outside_does_not_restart() -> TestResult {
    for kill in [false, true] {
        let (system, group, mut news) = started(Strategy::OneForAll).await?;
        let a = system.actor::<ScriptedActor>("a")?;
        if kill {
            a.kill();
        } else {
            a.stop();
        }
        within(a.stopped()).await;
        settle().await;
        assert_eq!(news.get().len(), usize::from(!kill), "the others live on");
        within(system.ask("b", fail())).await.unwrap_err();
        settle().await;
        assert_eq!(news.get(), [B_FAILS, C_AGAIN, "b starts", "c starts"]);
        assert_eq!(within(group.children()).await?.len(), 3);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn policies_hold_in_groups() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = Supervisor::new(Strategy::OneForOne)
        .backoff(Backoff::none())
        .member(member("always", &log).restart(Restart::Always))
        .member(member("never", &log).restart(Restart::Never))
        .member(member("failure", &log));
    spawn(&system, group).await?;
    let mut news = News(log, 3);
    for name in ["always", "failure"] {
        within(system.ask(name, run(|ctx| ctx.stop()))).await?;
        settle().await;
    }
    within(system.ask("never", fail())).await.unwrap_err();
    settle().await;
    let stops = |name: &str| format!("{name} stops: stop was requested");
    let never = "never fails: panicked: on purpose".to_owned();
    let always = [stops("always"), "always starts".to_owned()];
    assert_eq!(
        news.get(),
        [&always, &[stops("failure"), never][..]].concat()
    );
    assert_eq!(
        system.len(),
        2,
        "the group and the one that always comes back"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn member_with_policy_never_restarts_with_the_group() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = Supervisor::new(Strategy::OneForAll)
        .backoff(Backoff::none())
        .member(member("a", &log).restart(Restart::Never))
        .member(member("b", &log));
    spawn(&system, group).await?;
    let mut news = News(log, 2);
    within(system.ask("b", fail())).await.unwrap_err();
    settle().await;
    assert_eq!(news.get(), [B_FAILS, A_AGAIN, "a starts", "b starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn members_are_children_of_the_group_and_keep_their_references() -> TestResult {
    let (system, group, _news) = started(Strategy::OneForAll).await?;
    let a = system.actor::<ScriptedActor>("a")?;
    within(system.ask("b", fail())).await.unwrap_err();
    within(a.ask(note("x"))).await?;
    assert_eq!(system.actor::<ScriptedActor>("a")?, a);
    for member in within(group.children()).await? {
        assert_eq!(member.parent.as_ref().map(AsRef::as_ref), Some("group"));
        assert_eq!(member.restarts, 1);
    }
    Ok(())
}
