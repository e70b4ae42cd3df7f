//! Logs of final failures.

use conclib::prelude::*;
use conclib::supervision::Restart;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::logs;
use conclib_tests::scripted::{ScriptedActor, fail, lives};
use conclib_tests::{Log, SECOND, TestResult, within};

use super::spent;

/// The logged lines with an error.
fn errors() -> Vec<String> {
    let log = logs::logged();
    let lines = log.lines().filter(|line| line.contains("ERROR"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn one_line_says_that_an_actor_will_not_start_again() -> TestResult {
    let system = ActorSystem::new();
    logs::capture();
    spent(&system, "desk").await?;
    let errors = errors();
    let last = errors.last().ok_or("no errors")?;
    assert!(
        last.contains("`desk` will not start again: 4 failures within 5 s"),
        "{last}"
    );
    assert!(
        last.contains("urn=desk") && last.contains("failure=panicked: on purpose"),
        "{last}"
    );
    let says = |line: &&String| line.contains("will not start again");
    assert_eq!(errors.iter().filter(says).count(), 1);
    assert_eq!(errors.len(), 5, "{errors:?}"); // one for each failure
    let again = |line: &&str| line.contains("starts again") && line.contains("urn=desk");
    assert_eq!(logs::logged().lines().filter(again).count(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn log_of_an_unsupervised_actor_says_that_it_stays_down() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    logs::capture();
    let once = within(system.spawn(ScriptedActor::new("a", &log)).urn("once")).await?;
    within(once.ask(fail())).await.unwrap_err();
    within(once.stopped()).await;
    let says = "`once` failed and will not start again: it is not supervised";
    let lines = errors();
    assert!(lines.len() == 1 && lines[0].contains(says), "{lines:?}");
    assert!(
        lines[0].contains("failure=panicked: on purpose"),
        "{lines:?}"
    );

    logs::capture();
    let never = system.supervise(lives("a", &log)).urn("never");
    let never = within(never.restart(Restart::Never)).await?;
    within(never.ask(fail())).await.unwrap_err();
    within(never.stopped()).await;
    let says = "`never` will not start again: its policy is Restart::Never";
    assert!(
        errors().iter().any(|line| line.contains(says)),
        "{:?}",
        errors()
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn log_of_a_failed_group_names_the_member() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = Supervisor::new(Strategy::OneForOne).budget(0, SECOND / 2);
    let group = group.member(ChildSpec::new(lives("a", &log)).urn("member"));
    let group = within(system.spawn(group).urn("group")).await?;
    logs::capture();
    within(system.ask("member", fail())).await.unwrap_err();
    within(group.stopped()).await;
    let lines = errors();
    let says = [
        "`member` will not start again: 1 failure within 0.5 s in its group",
        "`group` failed and will not start again: it is not supervised",
    ];
    for says in says {
        assert!(lines.iter().any(|line| line.contains(says)), "{lines:?}");
    }
    Ok(())
}
