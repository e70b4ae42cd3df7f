//! Members of a fleet, a Redis of their own, and a client.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conclib::{AskError, Config, ProxyClient};
use conclib_tests::bus::Bus;
use conclib_tests::eventually;
use conclib_tests::fleet::{Visit, parse_execution};
use conclib_tests::process::Program;

/// Makes the folders of the fixtures of one process different.
static FIXTURES: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    pub(crate) client: ProxyClient,
    pub(crate) bus: Bus,
    config: Config,
    /// The actors of each member.
    names: Vec<String>,
    /// The last number of a request.
    numbers: Arc<AtomicU64>,
    /// The file of executions.
    log: PathBuf,
}

/// A process of the fleet.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) program: Program,
}

impl Fleet {
    /// Starts that many members with these actors; each member is named `m-1`, `m-2`, ….
    pub(crate) async fn start(members: usize, names: &[&str]) -> Self {
        let bus = Bus::redis().await;
        let config = bus.config.clone().fleet();
        let number = FIXTURES.fetch_add(1, Ordering::Relaxed);
        let log = format!("conclib-fleet-{}-{number}", std::process::id());
        let mut fleet = Self {
            members: Vec::new(),
            client: ProxyClient::connect(&config).await.unwrap(),
            bus,
            config,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            numbers: Arc::default(),
            log: std::env::temp_dir().join(log),
        };
        for number in 1..=members {
            let member = fleet.start_member(&format!("m-{number}")).await;
            fleet.members.push(member);
        }
        fleet.all_answer().await;
        fleet
    }

    /// Starts a member with the fleet's actors, and waits until it has made them.
    pub(crate) async fn start_member(&self, name: &str) -> Member {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        self.start_member_with(name, &names).await
    }

    /// Starts a member with actors of its own, and waits until it has made them.
    pub(crate) async fn start_member_with(&self, name: &str, names: &[&str]) -> Member {
        let mut program = self.start_program(&self.config, name, names);
        program.line("ready").await;
        let name = name.to_owned();
        Member { name, program }
    }

    /// Starts the program of members with these settings and arguments.
    pub(crate) fn start_program(&self, config: &Config, name: &str, rest: &[&str]) -> Program {
        let mut variables = config.variables();
        variables.push(("CONCLIB_INSTANCE", name.to_owned()));
        let pairs = variables.iter().map(|(key, value)| (*key, &**value));
        let variables: Vec<_> = pairs.collect();
        let log = self.log.display().to_string();
        let arguments: Vec<_> = std::iter::once(&*log).chain(rest.iter().copied()).collect();
        let program = env!("CARGO_BIN_EXE_member_process");
        Program::start_with(program, &arguments, &variables)
    }

    /// Waits until every member answers for the first of the fleet's names.
    pub(crate) async fn all_answer(&self) {
        let Some((_, urn)) = self.names.first().and_then(|name| name.split_once(':')) else {
            return;
        };
        for member in &self.members {
            eventually("the member answers", async || {
                self.ask_at(&member.name, urn).await == Ok(member.name.clone())
            })
            .await;
        }
    }

    /// A request with a number that no other one has.
    pub(crate) fn visit(&self, nap: u64) -> Visit {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Visit { number, nap }
    }

    /// The numbers of requests.
    pub(crate) fn numbers(&self) -> Arc<AtomicU64> {
        self.numbers.clone()
    }

    /// Asks a name in the fleet.
    pub(crate) async fn ask(&self, urn: &str, timeout: Duration) -> Result<String, AskError> {
        let ask = self.client.ask(urn, self.visit(0));
        ask.timeout(timeout).await
    }

    /// Asks a name at one member.
    pub(crate) async fn ask_at(&self, member: &str, urn: &str) -> Result<String, AskError> {
        let ask = self.client.node(member).ask(urn, self.visit(0));
        ask.timeout(Duration::from_secs(5)).await
    }

    /// Takes a member out of the list.
    pub(crate) fn take(&mut self, name: &str) -> Member {
        let mut places = self.members.iter();
        let place = places.position(|member| member.name == name).unwrap();
        self.members.remove(place)
    }

    /// The members that have executed each request.
    pub(crate) fn executions(&self) -> HashMap<u64, Vec<String>> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut executions: HashMap<_, Vec<_>> = HashMap::new();
        for (number, member) in text.lines().map(parse_execution) {
            executions
                .entry(number)
                .or_default()
                .push(member.to_owned());
        }
        executions
    }
}

impl Member {
    /// Stops it in good order.
    pub(crate) async fn stop(mut self) {
        self.program.signal("TERM").await;
        assert!(self.program.ended().await, "{} stops well", self.name);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.log));
    }
}
