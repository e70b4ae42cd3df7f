//! The faults, and their injection.

use std::time::Duration;

use conclib_tests::random::Random;
use conclib_tests::relay::{Direction, Mode};
use tokio::time::sleep;

use crate::fixture::{ChaosFixture, Shape};
use crate::redis::{LEASE, Start};

macro_rules! faults {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($(#[$doc])* $kind,)*
        }

        impl Fault {
            /// All kinds.
            const ALL: &[Self] = &[$(Self::$kind),*];
        }
    };
}

faults! {
    RedisRestarted,
    RedisKilled,
    RedisRestartedEmpty,
    /// Redis comes back with older data: requests that were taken are there again.
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
    /// An orderly stop.
    ActorsStopped,
    ActorsKilled,
    ActorsSuspended,
    ClientSuspended,
    /// A replica with all data takes over, and the old primary becomes its replica.
    FailoverInStep,
    /// As before, but the last writes are lost.
    FailoverLosing,
    /// The old primary takes writes beside the new one before it is demoted.
    FailoverDemotedLate,
    /// The old primary takes writes until its connections break.
    FailoverUndemoted,
    /// Redis refuses a command to the user of all processes.
    RightRevoked,
    /// Redis does not know a command.
    CommandRenamed,
    /// A peer writes what it likes to the keys of the bus.
    HostileClient,
    /// An actor does not end its handler, and holds all the memory that it may.
    ActorStuck,
    /// The members of a fleet are restarted, one after the other.
    FleetRolled,
    /// All members of a fleet are stopped in good order, and started again.
    FleetStopped,
}

use Fault::*;

impl Fault {
    /// True if Redis loses data, or some of it.
    pub(crate) fn loses_data(self) -> bool {
        matches!(
            self,
            RedisRestartedEmpty
                | RedisSetBack
                | AllFlushed
                | FailoverLosing
                | FailoverDemotedLate
                | FailoverUndemoted
        )
    }

    /// True if the fault is one for these processes.
    fn can_befall(self, shape: Shape) -> bool {
        match self {
            FleetRolled | FleetStopped => shape == Shape::Fleet,
            // These know the keys of the node `main`, or use durable messages.
            LeaseDeleted | LeaseTaken | RightRevoked | CommandRenamed | HostileClient
            | ActorStuck => shape == Shape::Pair,
            _ => true,
        }
    }

    /// True if a replica takes over.
    pub(crate) fn is_failover(self) -> bool {
        matches!(
            self,
            FailoverInStep | FailoverLosing | FailoverDemotedLate | FailoverUndemoted
        )
    }
}

/// The kinds of connections, by their names.
pub(crate) const KINDS: [&str; 5] = ["commands", "pops", "publish", "replies", "durable"];

/// All kinds for these processes, or those of them that `CONCLIB_CHAOS_ONLY` names.
pub(crate) fn kinds(shape: Shape) -> Vec<Fault> {
    let only = std::env::var("CONCLIB_CHAOS_ONLY").unwrap_or_default();
    let names: Vec<_> = only.split(',').filter(|name| !name.is_empty()).collect();
    let is_named = |fault: &Fault| names.is_empty() || names.contains(&&*format!("{fault:?}"));
    let wanted: Vec<_> = Fault::ALL.iter().copied().filter(is_named).collect();
    assert!(!wanted.is_empty(), "there are: {:?}", Fault::ALL);
    wanted
        .into_iter()
        .filter(|fault| fault.can_befall(shape))
        .collect()
}

/// The next fault: each kind comes once before one comes again.
pub(crate) fn draw(kinds: &[Fault], deck: &mut Vec<Fault>, chance: &mut Random) -> Fault {
    if deck.is_empty() {
        deck.extend(kinds);
    }
    let place = chance.below(u32::try_from(deck.len()).unwrap_or(1));
    deck.swap_remove(place as usize)
}

/// A random duration, in ms.
pub(crate) fn millis(chance: &mut Random, from: u32, to: u32) -> Duration {
    Duration::from_millis(u64::from(from + chance.below(to - from)))
}

impl ChaosFixture {
    /// Injects a fault until its end; the faults of Redis itself are here.
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
                self.redis.copy().await;
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
            fault if fault.is_failover() => self.fail_over(fault, chance).await,
            CommandRenamed => self.rename(chance).await,
            _ => self.inject_into_connections(fault, chance).await,
        }
    }

    /// Injects a fault of the connections.
    async fn inject_into_connections(&mut self, fault: Fault, chance: &mut Random) {
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
                let directions: &[Direction] = match chance.below(3) {
                    0 => &[Direction::ToRedis],
                    1 => &[Direction::FromRedis],
                    _ => &[Direction::ToRedis, Direction::FromRedis],
                };
                for direction in directions {
                    self.relay.set(kind, *direction, Mode::Swallowing);
                }
                // For good: a connection whose owner does not notice stays dead.
                sleep(millis(chance, 500, 4_000)).await;
            }
            ConnectionStalled => {
                let (kind, direction) = (
                    *chance.of(&KINDS),
                    *chance.of(&[Direction::ToRedis, Direction::FromRedis]),
                );
                self.relay.set(kind, direction, Mode::Stalled);
                sleep(millis(chance, 100, 3_000)).await;
                self.relay.set(kind, direction, Mode::Open);
            }
            ConnectionsLate => {
                let late = Mode::Late(millis(chance, 1, 60));
                for direction in [Direction::ToRedis, Direction::FromRedis] {
                    self.relay.set("", direction, late);
                }
                sleep(millis(chance, 500, 3_000)).await;
                for direction in [Direction::ToRedis, Direction::FromRedis] {
                    self.relay.set("", direction, Mode::Open);
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
            _ => self.inject_into_data(fault, chance).await,
        }
    }

    /// Injects a fault of the data.
    async fn inject_into_data(&mut self, fault: Fault, chance: &mut Random) {
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
            LeaseDeleted => drop(self.redis.command(&["DEL", LEASE]).await),
            LeaseTaken => self.redis.take_lease(millis(chance, 200, 3_000)).await,
            AllFlushed => drop(self.redis.command(&["FLUSHALL"]).await),
            RightRevoked => self.revoke(chance).await,
            _ => self.inject_into_processes(fault, chance).await,
        }
    }

    /// Injects a fault of the processes.
    async fn inject_into_processes(&mut self, fault: Fault, chance: &mut Random) {
        match fault {
            ActorsStopped => self.restart_actors("TERM", chance).await,
            ActorsKilled => self.restart_actors("KILL", chance).await,
            FleetRolled => self.roll().await,
            FleetStopped => self.stop_all().await,
            ActorsSuspended => {
                let time = millis(chance, 200, 9_000);
                let actors = self.serving(chance).await;
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
            HostileClient => self.attack(chance).await,
            ActorStuck => self.stick(chance).await,
            _ => unreachable!("{fault:?}"),
        }
    }

    /// Answers pile up at Redis until it ends the connection.
    async fn slow_subscriber(&mut self, chance: &mut Random) {
        let limit = |limit| ["CONFIG", "SET", "client-output-buffer-limit", limit];
        self.redis.command(&limit("pubsub 1048576 0 0")).await;
        self.relay
            .set("replies", Direction::FromRedis, Mode::Stalled);
        self.bulk().await;
        sleep(millis(chance, 500, 2_000)).await;
        self.relay.set("replies", Direction::FromRedis, Mode::Open);
        self.redis
            .command(&limit("pubsub 33554432 8388608 60"))
            .await;
    }
}
