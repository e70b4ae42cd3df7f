//! Groups of actors that start and stop together.

mod budgets;
mod endings;
mod patience;
mod strategies;
mod torment;

use std::time::Duration;

use conclib::prelude::*;
use conclib::{Backoff, GroupMember, SpawnError, Strategy, Supervisor};
use conclib_tests::probe::{Probe, lives};
use conclib_tests::{Log, within};

const SECOND: Duration = Duration::from_secs(1);

type Member<F> = GroupMember<F>;

/// A member that writes down what happens to it.
fn member(
    name: &'static str,
    log: &Log,
) -> Member<impl FnMut() -> std::future::Ready<Probe> + Send + use<>> {
    GroupMember::new(lives(name, log)).urn(name)
}

/// Three members, `a`, `b` and `c`, that start again at once.
fn three(strategy: Strategy, log: &Log) -> Supervisor {
    Supervisor::new(strategy)
        .backoff(Backoff::none())
        .member(member("a", log))
        .member(member("b", log))
        .member(member("c", log))
}

async fn spawn(
    system: &ActorSystem,
    group: Supervisor,
) -> Result<ActorRef<Supervisor>, SpawnError> {
    within(system.spawn(group).urn("group")).await
}

/// What was written since the last look.
struct News(Log, usize);

impl News {
    fn get(&mut self) -> Vec<String> {
        let entries = self.0.entries().split_off(self.1);
        self.1 += entries.len();
        entries
    }
}

/// A group of three that has started.
async fn started(
    strategy: Strategy,
) -> Result<(ActorSystem, ActorRef<Supervisor>, News), SpawnError> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = spawn(&system, three(strategy, &log)).await?;
    let mut news = News(log, 0);
    assert_eq!(news.get(), ["a starts", "b starts", "c starts"]);
    Ok((system, group, news))
}

fn text(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|&entry| entry.to_owned()).collect()
}

const B_FAILS: &str = "b fails: panicked: on purpose";
const A_AGAIN: &str = "a stops: its group restarts";
const C_AGAIN: &str = "c stops: its group restarts";
