//! What goes wrong.

use std::time::Duration;

use conclib_tests::random::Random;
use conclib_tests::relay::{Mode, Way};
use tokio::time::sleep;

use crate::redis::Start;
use crate::stage::Stage;

macro_rules! faults {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// What goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($(#[$doc])* $kind,)*
        }

        impl Fault {
            /// Every kind.
            const ALL: &[Self] = &[$(Self::$kind),*];
        }
    };
}

faults! {
    RedisRestarted,
    RedisKilled,
    RedisRestartedEmpty,
    /// It comes back with data of a moment before: requests that were taken are there again.
    RedisSetBack,
    RedisPaused,
    ConnectionKilled,
    ConnectionCut,
    ConnectionHalfOpen,
    ConnectionStalled,
    ConnectionsLate,
    ConnectionsRefused,
    SlowSubscriber,
    OutOfMemory,
    ScriptsFlushed,
    LeaseDeleted,
    LeaseTaken,
    AllFlushed,
    /// In good order.
    ActorsStopped,
    ActorsKilled,
    ActorsSuspended,
    ClientSuspended,
}

use Fault::*;

impl Fault {
    /// Redis forgets what it had, or some of it.
    pub(crate) fn loses_data(self) -> bool {
        matches!(self, RedisRestartedEmpty | RedisSetBack | AllFlushed)
    }
}

/// The kinds of connections, by their names.
const KINDS: [&str; 4] = ["commands", "pops", "replies", "durable"];

/// Every kind, or those that `CONCLIB_CHAOS_ONLY` names.
pub(crate) fn kinds() -> Vec<Fault> {
    let only = std::env::var("CONCLIB_CHAOS_ONLY").unwrap_or_default();
    let names: Vec<_> = only.split(',').filter(|name| !name.is_empty()).collect();
    let is_wanted = |fault: &Fault| names.is_empty() || names.contains(&&*format!("{fault:?}"));
    let kinds: Vec<_> = Fault::ALL.iter().copied().filter(is_wanted).collect();
    assert!(!kinds.is_empty(), "there are: {:?}", Fault::ALL);
    kinds
}

/// The next fault: each kind comes once before one comes again.
pub(crate) fn draw(kinds: &[Fault], deck: &mut Vec<Fault>, chance: &mut Random) -> Fault {
    if deck.is_empty() {
        deck.extend(kinds);
    }
    let place = chance.below(u32::try_from(deck.len()).unwrap_or(1));
    deck.swap_remove(place as usize)
}

fn millis(chance: &mut Random, from: u32, to: u32) -> Duration {
    Duration::from_millis(u64::from(from + chance.below(to - from)))
}

impl Stage {
    /// Lets something go wrong, until it is over. These are with Redis itself.
    pub(crate) async fn inject(&mut self, fault: Fault, chance: &mut Random) {
        match fault {
            RedisRestarted => self.redis.restart("TERM", millis(chance, 1, 800)).await,
            RedisKilled => self.redis.restart("KILL", millis(chance, 1, 800)).await,
            RedisRestartedEmpty => {
                self.redis.next = Start::Empty;
                self.redis.restart("KILL", millis(chance, 1, 400)).await;
            }
            RedisSetBack => {
                // Requests wait in the inbox when the copy is made, and are taken after it.
                for actors in &self.actors {
                    actors.suspend().await;
                }
                sleep(millis(chance, 50, 300)).await;
                self.redis.copy();
                for actors in &self.actors {
                    actors.signal("CONT").await;
                }
                sleep(millis(chance, 50, 500)).await;
                self.redis.next = Start::FromCopy;
                self.redis.restart("KILL", Duration::from_millis(1)).await;
            }
            RedisPaused => {
                let pause = if chance.one_in(2) {
                    Duration::from_secs(3)
                } else {
                    millis(chance, 100, 3_000)
                };
                self.redis.suspend(pause).await;
            }
            _ => self.with_a_line(fault, chance).await,
        }
    }

    /// With the connections.
    async fn with_a_line(&mut self, fault: Fault, chance: &mut Random) {
        match fault {
            ConnectionKilled => {
                let kind = chance.of(&KINDS);
                self.redis.kill_connections(kind).await;
            }
            ConnectionCut => {
                let kind: &&str = chance.of(&KINDS);
                self.relay.cut(kind);
            }
            ConnectionHalfOpen => {
                let kind = *chance.of(&KINDS);
                let ways: &[Way] = match chance.below(3) {
                    0 => &[Way::ToRedis],
                    1 => &[Way::FromRedis],
                    _ => &[Way::ToRedis, Way::FromRedis],
                };
                for way in ways {
                    self.relay.set(kind, *way, Mode::Swallowing);
                }
                // For good: whoever does not notice is never heard again.
                sleep(millis(chance, 500, 4_000)).await;
            }
            ConnectionStalled => {
                let (kind, way) = (
                    *chance.of(&KINDS),
                    *chance.of(&[Way::ToRedis, Way::FromRedis]),
                );
                self.relay.set(kind, way, Mode::Stalled);
                sleep(millis(chance, 100, 3_000)).await;
                self.relay.set(kind, way, Mode::Open);
            }
            ConnectionsLate => {
                let late = Mode::Late(millis(chance, 1, 60));
                for way in [Way::ToRedis, Way::FromRedis] {
                    self.relay.set("", way, late);
                }
                sleep(millis(chance, 500, 3_000)).await;
                for way in [Way::ToRedis, Way::FromRedis] {
                    self.relay.set("", way, Mode::Open);
                }
            }
            ConnectionsRefused => {
                self.relay.refuse(true);
                self.relay
                    .cut(if chance.one_in(2) { "" } else { "commands" });
                sleep(millis(chance, 100, 2_000)).await;
                self.relay.refuse(false);
            }
            SlowSubscriber => self.slow_subscriber(chance).await,
            _ => self.with_the_data(fault, chance).await,
        }
    }

    /// With what Redis holds.
    async fn with_the_data(&mut self, fault: Fault, chance: &mut Random) {
        match fault {
            OutOfMemory => {
                self.redis
                    .command(&["CONFIG", "SET", "maxmemory", "1"])
                    .await;
                sleep(millis(chance, 200, 2_000)).await;
                self.redis
                    .command(&["CONFIG", "SET", "maxmemory", "0"])
                    .await;
            }
            ScriptsFlushed => drop(self.redis.command(&["SCRIPT", "FLUSH"]).await),
            LeaseDeleted => drop(self.redis.command(&["DEL", "conclib:{n:main}:lease"]).await),
            LeaseTaken => self.redis.take_lease(millis(chance, 200, 3_000)).await,
            AllFlushed => drop(self.redis.command(&["FLUSHALL"]).await),
            _ => self.with_a_process(fault, chance).await,
        }
    }

    /// With the other processes.
    async fn with_a_process(&mut self, fault: Fault, chance: &mut Random) {
        match fault {
            ActorsStopped => self.restart_actors("TERM").await,
            ActorsKilled => self.restart_actors("KILL").await,
            ActorsSuspended => {
                let time = millis(chance, 200, 9_000);
                let actors = self.serving().await;
                actors.suspend().await;
                sleep(time).await;
                actors.signal("CONT").await;
            }
            ClientSuspended => {
                let client = chance.below(u32::try_from(self.clients.len()).unwrap_or(1));
                let client = &self.clients[client as usize];
                client.suspend().await;
                sleep(millis(chance, 200, 4_000)).await;
                client.signal("CONT").await;
            }
            _ => unreachable!("{fault:?}"),
        }
    }

    /// Answers pile up at Redis until it ends the connection.
    async fn slow_subscriber(&mut self, chance: &mut Random) {
        let limit = |limit| ["CONFIG", "SET", "client-output-buffer-limit", limit];
        self.redis.command(&limit("pubsub 1048576 0 0")).await;
        self.relay.set("replies", Way::FromRedis, Mode::Stalled);
        self.bulk().await;
        sleep(millis(chance, 500, 2_000)).await;
        self.relay.set("replies", Way::FromRedis, Mode::Open);
        self.redis
            .command(&limit("pubsub 33554432 8388608 60"))
            .await;
    }
}
