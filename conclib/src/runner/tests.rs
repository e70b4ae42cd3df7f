//! Sizes of actors' tasks, their turns, and signals of idleness that come too late.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::{ActorGuard, run};
use crate::actor::cell::{ActorCell, Extras};
use crate::actor::type_counters::TypeNumber;
use crate::prelude::*;
use crate::supervision::lifecycle::Unsupervised;
use crate::urn::ActorName;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Ping;

#[derive(Actor)]
#[actor(mailbox = 8)]
struct Plain;

#[handlers]
impl Plain {
    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

#[derive(Actor)]
struct Waits;

#[handlers]
impl Waits {
    async fn on_start(&mut self) {
        tokio::task::yield_now().await;
    }

    #[handler]
    async fn ping(&mut self, _: Ping, ctx: &mut Context<Self>) -> u32 {
        tokio::task::yield_now().await;
        u32::from(ctx.is_stopping())
    }
}

#[derive(Actor, Default)]
struct Parent {
    children: u32,
}

#[handlers]
impl Parent {
    /// Spawns a child, and responds with the number of children.
    #[handler]
    async fn ping(&mut self, _: Ping, ctx: &mut Context<Self>) -> Result<u32, Failure> {
        ctx.spawn(Plain).await?;
        self.children += 1;
        Ok(self.children)
    }
}

#[derive(ActorMessage)]
#[message(local)]
struct Heartbeat;

#[derive(Actor)]
#[actor(urn = "heart")]
#[periodic(tick = Heartbeat, every = "1h")]
struct Heart;

#[handlers]
impl Heart {
    #[handler]
    fn heartbeat(&mut self, _: Heartbeat) {}
}

#[tokio::test]
async fn kill_before_the_first_poll_is_the_error_of_the_spawn() {
    let system = ActorSystem::new();
    let mut spawn = pin!(system.spawn(Heart));
    let first = poll_fn(|cx| Poll::Ready(spawn.as_mut().poll(cx).is_ready())).await;
    assert!(!first, "it waits for the ticks to start");
    system.actor::<Heart>("heart").unwrap().kill();
    assert!(spawn.await.is_err());
    assert!(system.is_empty());
}

#[tokio::test]
async fn actor_with_many_messages_lets_other_tasks_run() {
    let system = ActorSystem::new();
    let plain = system.spawn(Plain).mailbox(1_000).await.unwrap();
    for _ in 1..1_000 {
        plain.try_tell(Ping).unwrap();
    }
    let last = tokio::spawn(plain.ask(Ping).into_future());
    let mut turns = 0;
    while !last.is_finished() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert!(turns > 1_000 / 128, "{turns}");
}

#[tokio::test(start_paused = true)]
async fn actor_that_has_a_child_by_now_is_not_idle() {
    let system = ActorSystem::new();
    let parents = system.on_demand("parent/*", |_| async { Parent::default() });
    let parents = parents.await.unwrap();
    assert_eq!(system.ask("parent/1", Ping).await, Ok(1));
    let parent = system.core().registry.find("parent/1").unwrap();
    parent.signal_idle(); // as if it had spawned the child since the look
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((parents.len(), system.len()), (1, 2));
    assert_eq!(system.ask("parent/1", Ping).await, Ok(2));
}

fn task_size<A: Actor>(actor: A) -> usize {
    let cell = Arc::new(ActorCell::<A>::new(
        ActorName::generate([0; 6]),
        0,
        8,
        TypeNumber::default(),
        Extras::default(),
    ));
    let guard = ActorGuard::new(Context::new(cell, Arc::default()), Some(actor), None);
    size_of_val(&run(guard, Unsupervised))
}

/// In a build for tests, with the compiler of `rust-toolchain`. An idle actor is such a task, its cell
/// and its place in the registry, and room for a message.
#[test]
fn idle_actors_stay_small() {
    /// For the time of a message: the allocations stay as large.
    const TIMES: usize = if cfg!(feature = "metrics") { 24 } else { 0 };
    /// tokio adds 104 bytes, and rounds the allocation up to 384.
    const TASK: usize = 232 + TIMES;
    /// With a handler that waits; rounded up to 512.
    const WAITING_TASK: usize = 312 + TIMES;
    /// With two counts, the size of an allocation of 240 bytes.
    const CELL: usize = 216;

    let sizes = [task_size(Plain), task_size(Waits)];
    assert!(sizes[0] <= TASK && sizes[1] <= WAITING_TASK, "{sizes:?}");
    assert_eq!(size_of::<ActorCell<Plain>>(), CELL);
}
