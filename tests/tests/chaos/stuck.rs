//! An actor that does not end its handler, and holds all the memory that it may.

use std::time::Duration;

use conclib_tests::eventually;
use conclib_tests::random::Random;
use tokio::time::sleep;

use crate::faults::millis;
use crate::fixture::ChaosFixture;

/// The shortest time in which the actor is stuck: the checks look at the last second.
const STUCK: Duration = Duration::from_millis(1_200);

impl ChaosFixture {
    /// Has an actor get stuck, fills its share of the memory for requests, and releases or kills it.
    pub(crate) async fn stick(&mut self, chance: &mut Random) {
        self.clients_are_answered().await;
        self.tell_actors("stick").await;
        let client = &mut self.clients[0];
        eventually("the stuck actor holds its share", async || {
            client.say("fill").await;
            client.line("filled ").await == "Overloaded"
        })
        .await;
        sleep(STUCK + millis(chance, 0, 2_000)).await;
        let end = *chance.of(&["release", "kill"]);
        // Its log is large now, and slow to load.
        self.redis.rewrite_log().await;
        self.tell_actors(end).await;
    }

    async fn tell_actors(&mut self, line: &str) {
        for actors in &mut self.actors {
            actors.say(line).await;
        }
    }

    /// Waits until each client had an answer just now.
    async fn clients_are_answered(&mut self) {
        for client in &mut self.clients {
            eventually("a client is answered", async || {
                client.say("look").await;
                let since: u64 = client.line("looked ").await.parse().unwrap();
                since < 100
            })
            .await;
        }
    }
}
