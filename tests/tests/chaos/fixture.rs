//! The fixture: a Redis, the relay in front of it, and the processes that use it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conclib::Config;
use conclib::durable::DeadLetters;
use conclib_tests::chaos::{ExecutionRecord, RequestRecord, ResourceUsage, Work};
use conclib_tests::eventually;
use conclib_tests::process::Program;
use conclib_tests::relay::Relay;
use tokio::time::{Instant, sleep};

use crate::InjectedFault;
use crate::checks::compare;
use crate::hostile;
use crate::processes::{look, start_actors};
use crate::redis::Redis;

/// The number of client processes.
const CLIENTS: usize = 3;

/// The processes that have the actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One serves, and one stands by.
    Pair,
    /// Five members of a fleet serve.
    Fleet,
}

impl Shape {
    /// The number of processes with actors.
    fn actors(self) -> usize {
        match self {
            Self::Pair => 2,
            Self::Fleet => 5,
        }
    }

    /// The number of connections: two of each client; four of a process that serves, and three of one that
    /// waits for the lease, or is a member of a fleet, which handles no durable messages.
    fn connections(self) -> usize {
        match self {
            Self::Pair => 2 * CLIENTS + 4 + 3,
            Self::Fleet => 2 * CLIENTS + 3 * self.actors(),
        }
    }
}

/// All processes of a run.
pub(crate) struct ChaosFixture {
    /// The primary.
    pub(crate) redis: Redis,
    /// Its replica, from the first failover on.
    pub(crate) replica: Option<Redis>,
    /// Between the processes and Redis.
    pub(crate) relay: Relay,
    pub(crate) shape: Shape,
    pub(crate) actors: Vec<Program>,
    pub(crate) clients: Vec<Program>,
    /// The dead letters so far.
    dead: Vec<DeadRecord>,
    /// The entries of a hostile peer.
    pub(crate) unreadable: Vec<UnreadableEntry>,
    /// The numbers of those that became dead letters.
    unreadable_dead: HashSet<u64>,
    /// The folder of the servers and the records; removed at the end of a successful run.
    pub(crate) folder: PathBuf,
}

/// The resources of all processes at a moment without load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) actors: Vec<ResourceUsage>,
    pub(crate) clients: Vec<ResourceUsage>,
    /// Connections to Redis.
    pub(crate) connections: usize,
    /// Channels with subscribers.
    pub(crate) channels: usize,
    /// Durable messages not handled yet.
    pub(crate) kept: usize,
    /// Claims of durable messages.
    pub(crate) claims: usize,
}

/// A durable message that became a dead letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadRecord {
    pub(crate) number: u64,
    pub(crate) deliveries: u32,
}

/// An entry of the stream that no actor can handle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnreadableEntry {
    pub(crate) number: u64,
    /// The time at which it was stored, on the system's clock in ms.
    pub(crate) at: u64,
}

/// The records of a run.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) asked: Vec<RequestRecord>,
    pub(crate) executions: Vec<ExecutionRecord>,
    /// Messages of the clients that became dead letters.
    pub(crate) dead: Vec<DeadRecord>,
    /// The entries of a hostile peer.
    pub(crate) unreadable: Vec<UnreadableEntry>,
    /// The numbers of those that became dead letters.
    pub(crate) unreadable_dead: HashSet<u64>,
}

impl ChaosFixture {
    pub(crate) async fn open(seed: u64, shape: Shape) -> Self {
        let folder = format!("conclib-chaos-{shape:?}-{}-{seed}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let redis = Redis::start(folder.join("first")).await;
        let relay = Relay::start(redis.address).await.unwrap();
        let mut actors = Vec::new();
        for place in 0..shape.actors() {
            actors.push(start_actors(shape, place, &relay, &folder).await);
        }
        let mut clients = Vec::new();
        for number in (1..).take(CLIENTS) {
            let records = records(&folder, number).display().to_string();
            let (number, seed) = (number.to_string(), seed.wrapping_add(number).to_string());
            let program = env!("CARGO_BIN_EXE_chaos_client");
            let url = url(&relay);
            let mut arguments = vec![&*url, &number, &seed, &records];
            arguments.extend((shape == Shape::Fleet).then_some("fleet"));
            let mut client = Program::start(program, &arguments);
            client.line("ready").await;
            clients.push(client);
        }
        let fixture = Self {
            redis,
            replica: None,
            relay,
            shape,
            actors,
            clients,
            dead: Vec::new(),
            unreadable: Vec::new(),
            unreadable_dead: HashSet::new(),
            folder,
        };
        eventually("all processes are connected", async || {
            fixture.connections().await == shape.connections()
        })
        .await;
        fixture
    }

    /// Starts the load: `go`, or `go poison`.
    pub(crate) async fn go(&mut self, how: &str) {
        for client in &mut self.clients {
            client.say(how).await;
        }
    }

    /// Has all clients ask for many large answers.
    pub(crate) async fn bulk(&mut self) {
        for client in &mut self.clients {
            client.say("bulk").await;
        }
    }

    /// Stops the load, waits for requests in flight, and takes a snapshot.
    pub(crate) async fn pause(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for client in &mut self.clients {
            client.say("pause").await;
        }
        for client in &mut self.clients {
            snapshot
                .clients
                .push(client.line("paused ").await.parse().unwrap());
        }
        for actors in &mut self.actors {
            snapshot.actors.push(look(actors).await.1);
        }
        snapshot.connections = self.connections().await;
        let channels = self.redis.command(&["PUBSUB", "CHANNELS"]).await;
        snapshot.channels = channels.lines().count();
        let stream = "conclib:{n:main}:durable";
        let kept = self.redis.command(&["XLEN", stream]).await;
        snapshot.kept = kept.parse().unwrap();
        // Without a stream there is no group, and no claim.
        let pending = ["XPENDING", stream, "conclib"];
        let claims = self.redis.try_command(&pending).await.unwrap_or_default();
        let count = claims.lines().next().and_then(|count| count.parse().ok());
        snapshot.claims = count.unwrap_or(0);
        snapshot
    }

    /// Continues the load until the resources are as before, or the time is over.
    pub(crate) async fn settle(&mut self, before: &Snapshot, bound: Duration) -> Snapshot {
        let start = Instant::now();
        loop {
            let after = self.pause().await;
            if compare(before, &after).is_empty() || start.elapsed() > bound {
                return after;
            }
            self.go("go").await;
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Requests left at Redis that should have been removed. A failover that loses writes may lose an
    /// epoch that clients know, and whose inbox no later system deletes.
    pub(crate) async fn leftovers(&mut self, injected: &[InjectedFault]) -> Vec<String> {
        let loses_epochs = injected
            .iter()
            .any(|fault| fault.fault.is_failover() && fault.fault.loses_data());
        let mut violations = Vec::new();
        for key in self
            .redis
            .command(&["KEYS", "conclib:*inbox*"])
            .await
            .lines()
        {
            let length = self.redis.command(&["LLEN", key]).await;
            let ends = self.redis.command(&["PTTL", key]).await;
            // Requests to an epoch that ended at once expire.
            if length != "0" && ends.starts_with('-') {
                let node = key.split(":inbox:").next().unwrap_or_default();
                let epochs = self.redis.command(&["GET", &format!("{node}:epoch")]).await;
                let known = epochs.split(' ');
                let mut known = known.filter_map(|epoch| epoch.split(':').next());
                if loses_epochs && !known.any(|epoch| key.ends_with(epoch)) {
                    println!("{length} requests are left in {key}, whose epoch was lost");
                    continue;
                }
                let first = self.redis.command(&["LINDEX", key, "0"]).await;
                violations.push(format!(
                    "{length} requests are left in {key}, the first is {first:?}; the last epochs \
                     are {epochs}"
                ));
            }
        }
        let stream = "conclib:{n:main}:durable";
        let first = ["XRANGE", stream, "-", "+", "COUNT", "1"];
        let first = self.redis.command(&first).await;
        if !first.is_empty() {
            let group = self.redis.command(&["XINFO", "GROUPS", stream]).await;
            violations.push(format!("the stream has {first:?}, and its group {group:?}"));
        }
        violations
    }

    /// Records the dead letters, and deletes them.
    pub(crate) async fn collect_dead(&mut self) {
        let config = Config::new(&format!("redis://{}", self.redis.address)).unwrap();
        let letters = DeadLetters::connect(&config).await.unwrap();
        loop {
            let page = letters.list().await.unwrap();
            if page.is_empty() {
                return;
            }
            for letter in page {
                if let Some(number) = letter.key.strip_prefix(hostile::KEY) {
                    self.unreadable_dead.insert(number.parse().unwrap());
                } else {
                    let work: Work = rmp_serde::from_slice(&letter.contents).unwrap();
                    self.dead.push(DeadRecord {
                        number: work.number,
                        deliveries: letter.deliveries,
                    });
                }
                assert!(letters.delete(&letter.id).await.unwrap());
            }
        }
    }

    /// Ends all processes.
    pub(crate) async fn close(mut self) -> Records {
        let mut asked = Vec::new();
        for (client, number) in self.clients.iter_mut().zip(1..) {
            client.say("end").await;
            client.line("ended").await;
            asked.extend(read(&records(&self.folder, number)));
        }
        for actors in &mut self.actors {
            actors.signal("TERM").await;
            assert!(actors.ended().await, "the actors end well");
        }
        let executions = read(&self.folder.join("begun"));
        drop(std::fs::remove_dir_all(&self.folder));
        Records {
            asked,
            executions,
            dead: self.dead,
            unreadable: self.unreadable,
            unreadable_dead: self.unreadable_dead,
        }
    }

    /// The number of connections to Redis: a process that stands by may stay at the replica until it
    /// wants to write.
    async fn connections(&self) -> usize {
        let mut count = 0;
        for redis in [Some(&self.redis), self.replica.as_ref()]
            .into_iter()
            .flatten()
        {
            let list = redis.command(&["CLIENT", "LIST"]).await;
            count += list.matches("name=conclib:").count();
        }
        count
    }
}

pub(crate) fn url(relay: &Relay) -> String {
    format!("redis://127.0.0.1:{}", relay.port())
}

fn records(folder: &Path, client: u64) -> PathBuf {
    folder.join(format!("asked-{client}"))
}

/// The lines of a file.
fn read<T: std::str::FromStr<Err = String>>(file: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}
