//! The processes that have the actors: a pair of which one serves, or the members of a fleet.

use std::path::Path;

use conclib_tests::chaos::ResourceUsage;
use conclib_tests::process::Program;
use conclib_tests::random::Random;
use conclib_tests::relay::Relay;

use crate::fixture::{ChaosFixture, Shape, url};

impl ChaosFixture {
    /// The number of actor processes that serve.
    pub(crate) async fn count_serving(&mut self) -> u32 {
        let mut count = 0;
        for actors in &mut self.actors {
            count += u32::from(look(actors).await.0);
        }
        count
    }

    /// The serving actor process, or one of them if none or all serve.
    pub(crate) async fn serving(&mut self, chance: &mut Random) -> &mut Program {
        let place = self.serving_place(chance).await;
        &mut self.actors[place]
    }

    async fn serving_place(&mut self, chance: &mut Random) -> usize {
        match self.shape {
            Shape::Pair => usize::from(!look(&mut self.actors[0]).await.0),
            Shape::Fleet => self.any_place(chance),
        }
    }

    fn any_place(&self, chance: &mut Random) -> usize {
        let count = u32::try_from(self.actors.len()).unwrap_or(1);
        chance.below(count) as usize
    }

    /// Ends a serving process with `KILL` or `TERM`, and starts another.
    pub(crate) async fn restart_actors(&mut self, how: &str, chance: &mut Random) {
        if self.shape == Shape::Fleet {
            let place = self.any_place(chance);
            return self.restart_member(place, how).await;
        }
        let new = start_actors(self.shape, 0, &self.relay, &self.folder).await;
        let old = self.serving(chance).await;
        let old = std::mem::replace(old, new);
        end(old, how).await;
    }

    /// Kills the process that does not serve, or any member of a fleet, and starts another.
    pub(crate) async fn restart_standby(&mut self, chance: &mut Random) {
        if self.shape == Shape::Fleet {
            return self.restart_actors("KILL", chance).await;
        }
        let new = start_actors(self.shape, 0, &self.relay, &self.folder).await;
        let serves = look(&mut self.actors[0]).await.0;
        let mut old = std::mem::replace(&mut self.actors[usize::from(serves)], new);
        old.kill().await;
    }

    /// Restarts the members of a fleet, one after the other.
    pub(crate) async fn roll(&mut self) {
        for place in 0..self.actors.len() {
            self.restart_member(place, "TERM").await;
        }
    }

    /// Stops all members of a fleet, and starts them again.
    pub(crate) async fn stop_all(&mut self) {
        let members = self.actors.len();
        for member in &self.actors {
            member.signal("TERM").await;
        }
        for mut member in self.actors.drain(..) {
            assert!(member.ended().await, "the actors end well");
        }
        for place in 0..members {
            let member = start_actors(self.shape, place, &self.relay, &self.folder).await;
            self.actors.push(member);
        }
    }

    /// Ends a member of a fleet, and starts another process in its place.
    async fn restart_member(&mut self, place: usize, how: &str) {
        let old = self.actors.remove(place);
        end(old, how).await;
        let new = start_actors(self.shape, place, &self.relay, &self.folder).await;
        self.actors.insert(place, new);
    }
}

/// Ends a process with `KILL` or `TERM`.
async fn end(mut actors: Program, how: &str) {
    actors.signal(how).await;
    assert!(
        actors.ended().await == (how == "TERM"),
        "the actors end well"
    );
}

/// The node of a member of the fleet.
pub(crate) fn node(place: usize) -> String {
    format!("member-{}", place + 1)
}

/// Starts an actor process: one of the pair, or a member of the fleet.
pub(crate) async fn start_actors(
    shape: Shape,
    place: usize,
    relay: &Relay,
    folder: &Path,
) -> Program {
    let (url, node) = (url(relay), node(place));
    let log = folder.join("begun").display().to_string();
    let mut arguments = vec![&*url, &*log];
    arguments.extend((shape == Shape::Fleet).then_some(&*node));
    let mut actors = Program::start(env!("CARGO_BIN_EXE_chaos_actors"), &arguments);
    actors.line("ready").await;
    actors
}

/// Asks an actor process if it serves, and for its resources.
pub(crate) async fn look(actors: &mut Program) -> (bool, ResourceUsage) {
    actors.say("look").await;
    let line = actors.line("looked ").await;
    let (serves, usage) = line.split_once(' ').unwrap();
    (serves.parse().unwrap(), usage.parse().unwrap())
}
