//! Groups of actors that start and stop together.

mod budgets;
mod policies;
mod random_failures;
mod strategies;
mod timeouts;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::scripted::{ScriptedActor, lives};
use conclib_tests::{Log, SECOND, within};

type Member<F> = ChildSpec<F>;

/// A member that logs its life.
fn member(
    name: &'static str,
    log: &Log,
) -> Member<impl FnMut() -> std::future::Ready<ScriptedActor> + Send + use<>> {
    ChildSpec::new(lives(name, log)).urn(name)
}

/// Three members, `a`, `b` and `c`, that restart at once.
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

/// Log entries since the last call.
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
