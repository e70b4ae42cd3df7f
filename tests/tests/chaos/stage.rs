//! A Redis, the line to it, and the processes that use it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use conclib::{Config, DeadLetters};
use conclib_tests::chaos::{Asked, Begun, Holdings, Work};
use conclib_tests::eventually;
use conclib_tests::process::Program;
use conclib_tests::relay::Relay;
use tokio::time::{Instant, sleep};

use crate::redis::Redis;
use crate::verdict::compare;

/// How many client processes ask.
const CLIENTS: usize = 3;

/// How many connections all have: two of each client, three of the actors that serve, and two of
/// those that wait for the lease.
const CONNECTIONS: usize = 2 * CLIENTS + 3 + 2;

/// All that takes part.
pub(crate) struct Stage {
    pub(crate) redis: Redis,
    /// Between the processes and Redis.
    pub(crate) relay: Relay,
    /// One serves, and one stands by.
    pub(crate) actors: [Program; 2],
    pub(crate) clients: Vec<Program>,
    /// The dead letters so far.
    dead: Vec<Dead>,
    /// Where Redis and the processes write; removed in the end if all went well.
    folder: PathBuf,
}

/// What everybody has at a moment without load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) actors: Vec<Holdings>,
    pub(crate) clients: Vec<Holdings>,
    /// Connections to Redis.
    pub(crate) connections: usize,
    /// Channels that somebody listens to.
    pub(crate) channels: usize,
    /// Durable messages that are not handled yet.
    pub(crate) kept: usize,
}

/// A durable message that was given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dead {
    pub(crate) number: u64,
    pub(crate) deliveries: u32,
}

impl Stage {
    pub(crate) async fn open(seed: u64) -> Self {
        let folder =
            std::env::temp_dir().join(format!("conclib-chaos-{}-{seed}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let redis = Redis::start(&folder).await;
        let relay = Relay::start(redis.address).await.unwrap();
        let actors = [
            start_actors(&relay, &folder).await,
            start_actors(&relay, &folder).await,
        ];
        let mut clients = Vec::new();
        for number in (1..).take(CLIENTS) {
            let records = records(&folder, number).display().to_string();
            let (number, seed) = (number.to_string(), seed.wrapping_add(number).to_string());
            let program = env!("CARGO_BIN_EXE_chaos_client");
            let mut client = Program::start(program, &[&url(&relay), &number, &seed, &records]);
            client.line("ready").await;
            clients.push(client);
        }
        let stage = Self {
            redis,
            relay,
            actors,
            clients,
            dead: Vec::new(),
            folder,
        };
        eventually("all are there", async || {
            stage.connections().await == CONNECTIONS
        })
        .await;
        stage
    }

    /// Has the clients ask: `go`, or `go poison`.
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

    /// Stops the load, waits until nothing is under way, and looks.
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
        let kept = self
            .redis
            .command(&["XLEN", "conclib:{n:main}:durable"])
            .await;
        snapshot.kept = kept.parse().unwrap();
        snapshot
    }

    /// Lets the load go on until everything is as it was, or the time is over.
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

    /// What is left at Redis that should not be.
    pub(crate) async fn leftovers(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for key in self
            .redis
            .command(&["KEYS", "conclib:*inbox*"])
            .await
            .lines()
        {
            let length = self.redis.command(&["LLEN", key]).await;
            let ends = self.redis.command(&["PTTL", key]).await;
            // What was sent to an epoch that was over at once ends by itself.
            if length != "0" && ends.starts_with('-') {
                let epochs = self.redis.command(&["GET", "conclib:{n:main}:epoch"]).await;
                let first = self.redis.command(&["LINDEX", key, "0"]).await;
                complaints.push(format!(
                    "{length} requests are left in {key}, the first is {first:?}; the last epochs \
                     are {epochs}"
                ));
            }
        }
        complaints
    }

    /// Takes note of the dead letters, and deletes them.
    pub(crate) async fn collect_dead(&mut self) {
        let config = Config::new(&format!("redis://{}", self.redis.address)).unwrap();
        let letters = DeadLetters::connect(&config).await.unwrap();
        loop {
            let page = letters.list().await.unwrap();
            if page.is_empty() {
                return;
            }
            for letter in page {
                let work: Work = rmp_serde::from_slice(&letter.contents).unwrap();
                self.dead.push(Dead {
                    number: work.number,
                    deliveries: letter.deliveries,
                });
                assert!(letters.delete(&letter.id).await.unwrap());
            }
        }
    }

    /// Ends all; what was asked, what was begun, and what was given up.
    pub(crate) async fn close(mut self) -> (Vec<Asked>, Vec<Begun>, Vec<Dead>) {
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
        let begun = read(&self.folder.join("begun"));
        drop(std::fs::remove_dir_all(&self.folder));
        (asked, begun, self.dead)
    }

    /// The process that serves, or one of them if none does.
    pub(crate) async fn serving(&mut self) -> &mut Program {
        let serves = look(&mut self.actors[0]).await.0;
        &mut self.actors[usize::from(!serves)]
    }

    /// Ends the process that serves, and starts another; it is ended with `KILL` or `TERM`.
    pub(crate) async fn restart_actors(&mut self, how: &str) {
        let new = start_actors(&self.relay, &self.folder).await;
        let old = self.serving().await;
        let mut old = std::mem::replace(old, new);
        old.signal(how).await;
        assert!(old.ended().await == (how == "TERM"), "the actors end well");
    }

    /// How many connections to Redis all have.
    async fn connections(&self) -> usize {
        let list = self.redis.command(&["CLIENT", "LIST"]).await;
        list.matches("name=conclib:").count()
    }
}

/// Whether actors serve, and what they have.
async fn look(actors: &mut Program) -> (bool, Holdings) {
    actors.say("look").await;
    let line = actors.line("looked ").await;
    let (serves, holdings) = line.split_once(' ').unwrap();
    (serves.parse().unwrap(), holdings.parse().unwrap())
}

fn url(relay: &Relay) -> String {
    format!("redis://127.0.0.1:{}", relay.port())
}

fn records(folder: &Path, client: u64) -> PathBuf {
    folder.join(format!("asked-{client}"))
}

async fn start_actors(relay: &Relay, folder: &Path) -> Program {
    let log = folder.join("begun").display().to_string();
    let mut actors = Program::start(env!("CARGO_BIN_EXE_chaos_actors"), &[&url(relay), &log]);
    actors.line("ready").await;
    actors
}

/// The lines of a file.
fn read<T: std::str::FromStr<Err = String>>(file: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}
