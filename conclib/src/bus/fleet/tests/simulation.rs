//! A fleet over the bus in memory in paused time: members and clients under random events, which their
//! seed decides. `CONCLIB_SIMULATION_SEEDS` sets the number of seeds of each test, and
//! `CONCLIB_SIMULATION_SEED` the only one.

use std::collections::HashMap;
use std::future::IntoFuture;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;

use super::*;
use crate::error::Delivered;
use crate::test::Faults;

use checks::Records;
use events::World;

mod checks;
mod events;

/// Number of seeds of each test, unless it is set.
const SEEDS: u64 = 50;

/// The time in which events happen.
const EVENTFUL: Duration = Duration::from_secs(20);

/// The time after the last event within which all names are served again.
const RECOVERY: Duration = Duration::from_secs(10);

/// The name that the members share.
const SHARED: &str = "work";

/// The names of which one member has each.
const LISTED: [&str; 2] = ["ledger", "till"];

/// A request: executed at most once.
#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
#[message(response = u64)]
struct Execute {
    /// The client, and the number of the request among all.
    client: u8,
    number: u64,
}

#[derive(Actor)]
struct Executor {
    urn: &'static str,
    pace: Duration,
    records: Arc<Mutex<Records>>,
}

#[handlers]
impl Executor {
    #[handler]
    async fn execute(&mut self, Execute { client, number }: Execute) -> u64 {
        self.records.lock().executed(self.urn, client, number);
        sleep(self.pace).await;
        number
    }
}

/// The kinds of events in one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// Members stop in good order, and start again.
    Deploys,
    /// Members are killed.
    Kills,
    /// Members and clients lose their connections for a while.
    Partitions,
    /// All of it, and the map is lost.
    Everything,
}

/// Runs a scenario for each seed; names the seed of one that fails.
fn simulate(scenario: Scenario) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("CONCLIB_SIMULATION_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("CONCLIB_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        let problems = runtime.unwrap().block_on(run(scenario, seed));
        assert!(
            problems.is_empty(),
            "seed {seed} of {scenario:?}: {problems:#?}"
        );
    }
}

/// One run: events, the time for recovery, and the checks.
async fn run(scenario: Scenario, seed: u64) -> Vec<String> {
    let mut world = World::begin(seed).await;
    let clients = world.clients().await;
    let end = Instant::now() + EVENTFUL;
    let asking = clients.iter().map(|client| client.ask_until(end));
    let asking = futures_util::future::join_all(asking);
    let (_, ()) = tokio::join!(asking, world.happen(scenario, end));
    world.heal();
    sleep(RECOVERY).await;
    for client in &clients {
        client.ask_each_name().await;
    }
    let mut problems = world.records.lock().problems();
    problems.extend(world.left_behind().await);
    problems
}

#[test]
fn deploys_keep_the_promises_of_a_fleet() {
    simulate(Scenario::Deploys);
}

#[test]
fn kills_keep_the_promises_of_a_fleet() {
    simulate(Scenario::Kills);
}

#[test]
fn partitions_keep_the_promises_of_a_fleet() {
    simulate(Scenario::Partitions);
}

#[test]
fn all_events_together_keep_the_promises_of_a_fleet() {
    simulate(Scenario::Everything);
}
