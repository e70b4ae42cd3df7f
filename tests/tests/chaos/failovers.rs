//! Failovers to a replica, while connections to the old primary stay open.

use std::time::Duration;

use conclib_tests::random::Random;
use conclib_tests::relay::{Direction, Mode};
use tokio::time::sleep;

use crate::faults::{Fault, KINDS, millis};
use crate::fixture::ChaosFixture;
use crate::redis::Redis;

impl ChaosFixture {
    /// Promotes the replica and leads new connections to it; then demotes the old primary, which is
    /// the replica from now on.
    pub(crate) async fn fail_over(&mut self, fault: Fault, chance: &mut Random) {
        let replica = self.take_replica().await;
        let loses = match fault {
            Fault::FailoverInStep => false,
            Fault::FailoverLosing => true,
            _ => chance.one_in(2),
        };
        if loses {
            self.lose_writes(&replica, chance).await;
        } else {
            self.redis.pause_writes().await;
            replica.catches_up(&self.redis).await;
            replica.promote().await;
        }
        self.relay.retarget(replica.address);
        let old = std::mem::replace(&mut self.redis, replica);
        match fault {
            Fault::FailoverDemotedLate => {
                old.resume_writes().await;
                self.divide(millis(chance, 500, 5_000), chance).await;
            }
            Fault::FailoverUndemoted => {
                old.resume_writes().await;
                self.divide(millis(chance, 1_000, 9_000), chance).await;
                self.relay.cut_from(old.address);
            }
            _ => {}
        }
        old.replicate(&self.redis).await;
        old.resume_writes().await;
        self.replica = Some(old);
    }

    /// Promotes the replica, and lets what is written afterwards be lost with the old primary. Requests
    /// wait in the inbox at that moment, and are taken after it: the new primary has them once more.
    async fn lose_writes(&self, replica: &Redis, chance: &mut Random) {
        let pops = |mode| self.relay.set("pops", Direction::ToRedis, mode);
        pops(Mode::Stalled);
        sleep(millis(chance, 50, 300)).await;
        replica.promote().await;
        pops(Mode::Open);
        sleep(millis(chance, 50, 2_000)).await;
    }

    /// Lets two primaries take writes for a time. What connects anew meanwhile, comes to the new one.
    async fn divide(&mut self, time: Duration, chance: &mut Random) {
        let before = time.mul_f64(f64::from(chance.below(100)) / 200.0);
        sleep(before).await;
        match chance.below(4) {
            0 => {}
            1 => {
                let kind: &&str = chance.of(&KINDS);
                self.relay.cut(kind);
            }
            // Serves on the new primary when the lease has expired there.
            2 => self.restart_standby(chance).await,
            _ => self.restart_actors("KILL", chance).await,
        }
        sleep(time.saturating_sub(before)).await;
        println!("           {} systems serve", self.count_serving().await);
    }

    /// The replica, which has what was written until now.
    async fn take_replica(&mut self) -> Redis {
        let replica = if let Some(replica) = self.replica.take() {
            replica
        } else {
            let replica = Redis::start(self.folder.join("second")).await;
            replica.replicate(&self.redis).await;
            replica.is_replica().await;
            // Clients of a fleet count the replicas once a second.
            sleep(Duration::from_secs(2)).await;
            replica
        };
        replica.is_replica().await;
        replica.catches_up(&self.redis).await;
        replica
    }
}
