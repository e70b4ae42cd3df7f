//! Commands that Redis refuses for a time.

use conclib_tests::random::Random;
use tokio::time::sleep;

use crate::faults::millis;
use crate::fixture::ChaosFixture;
use crate::redis::LEASE;

/// Commands without which the library misses something at once.
const COMMANDS: [&str; 13] = [
    "blmpop",
    "eval",
    "get",
    "mget",
    "ping",
    "publish",
    "rpush",
    "set",
    "subscribe",
    "time",
    "xack",
    "xadd",
    "xreadgroup",
];

impl ChaosFixture {
    /// Takes a command away from the user of all processes, and gives it back.
    pub(crate) async fn revoke(&mut self, chance: &mut Random) {
        let command = *chance.of(&COMMANDS);
        println!("           {command}");
        let rule = |sign: &str| format!("{sign}{command}");
        self.redis
            .command(&["ACL", "SETUSER", "default", &rule("-")])
            .await;
        match command {
            // Only new subscriptions and new leases need them.
            "subscribe" => drop(self.relay.cut("replies")),
            "set" => drop(self.redis.command(&["DEL", LEASE]).await),
            _ => {}
        }
        let time = if command == "eval" {
            millis(chance, 2_000, 8_000) // renewals come every 2 s, and a lease lasts 6 s
        } else {
            millis(chance, 200, 3_000)
        };
        sleep(time).await;
        self.redis
            .command(&["ACL", "SETUSER", "default", &rule("+")])
            .await;
    }

    /// Restarts Redis without a command, and later with it, with its data.
    pub(crate) async fn rename(&mut self, chance: &mut Random) {
        let command = chance.of(&["XADD", "PUBLISH", "RPUSH"]);
        println!("           {command}");
        // Redis could not read the command in its log.
        self.redis.pause_writes().await;
        self.redis.rewrite_log().await;
        self.redis.renamed = Some(command);
        self.redis.restart("TERM", millis(chance, 1, 100)).await;
        sleep(millis(chance, 200, 3_000)).await;
        self.redis.renamed = None;
        self.redis.restart("TERM", millis(chance, 1, 100)).await;
    }
}
