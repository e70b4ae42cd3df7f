//! Allocations of messages, none for a tell and the reply slot for an ask, and those of an idle actor.

use conclib::prelude::*;
use dhat::HeapStats;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[derive(ActorMessage)]
#[message(local)]
struct Add(u64);

#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Sum;

#[derive(Actor)]
struct Adder(u64);

#[handlers]
impl Adder {
    #[handler]
    fn add(&mut self, Add(n): Add) {
        self.0 += n;
    }

    #[handler]
    async fn sum(&mut self, _: Sum) -> u64 {
        tokio::task::yield_now().await;
        self.0
    }
}

#[derive(Actor)]
struct Total(u64);

#[handlers]
impl Total {
    #[handler]
    fn sum(&mut self, _: Sum) -> u64 {
        self.0
    }
}

/// The number of tells before an ask: fewer than a drained mailbox keeps room for.
const BURST: u64 = 50;

/// The number of measurements.
const ROUNDS: u64 = 5;

async fn burst(adder: &ActorRef<Adder>) -> u64 {
    for n in 0..BURST {
        adder.tell(Add(n)).await.unwrap();
    }
    adder.ask(Sum).await.unwrap()
}

/// Counts of two moments: the blocks allocated in between, and the blocks and bytes that stayed.
fn difference(before: &HeapStats, after: &HeapStats) -> (u64, usize, usize) {
    (
        after.total_blocks - before.total_blocks,
        after.curr_blocks.saturating_sub(before.curr_blocks),
        after.curr_bytes.saturating_sub(before.curr_bytes),
    )
}

async fn tell_allocates_nothing_and_an_ask_its_reply_slot() {
    let system = ActorSystem::new();
    let adder = system.spawn(Adder(0)).await.unwrap();
    for _ in 0..10 {
        burst(&adder).await; // until the buffers have their final size
    }

    // The counts are of the whole process, and the thread of the test runner may allocate
    // meanwhile: the smallest of a few counts is without it.
    let mut smallest = (u64::MAX, usize::MAX, usize::MAX);
    for _ in 0..ROUNDS {
        let before = HeapStats::get();
        for _ in 0..100 {
            burst(&adder).await;
        }
        smallest = smallest.min(difference(&before, &HeapStats::get()));
    }
    assert_eq!(smallest, (100, 0, 0), "one per ask, and nothing stays");
    let bursts = 10 + 100 * ROUNDS + 1;
    assert_eq!(burst(&adder).await, bursts * (0..BURST).sum::<u64>());
}

/// Its task, its cell, and room for a message; and a place in the registry, which is shared.
async fn idle_actor_has_three_allocations() {
    const ACTORS: usize = 10_000;
    const TASK: usize = 384;
    const CELL: usize = 232;
    const ROOM: usize = 24;
    /// A pointer of two words and a byte, at most twice while the table has just grown.
    const PLACE: usize = 2 * 17 + 1;

    let system = ActorSystem::new();
    let mut actors = Vec::with_capacity(ACTORS);
    let before = HeapStats::get();
    for n in 0..ACTORS {
        let total = system.spawn(Total(n as u64)).await.unwrap();
        assert_eq!(total.ask(Sum).await, Ok(n as u64));
        actors.push(total);
    }
    let (_, blocks, bytes) = difference(&before, &HeapStats::get());
    // A few blocks of the runtime may have come or gone.
    assert!(blocks.abs_diff(3 * ACTORS) < 50, "{blocks} blocks");
    let most = TASK + CELL + ROOM + PLACE;
    assert!(bytes / ACTORS <= most, "{} bytes each", bytes / ACTORS);
}

// The only test of its process.
#[tokio::test(flavor = "current_thread")]
async fn allocations() {
    let _counting = dhat::Profiler::builder().testing().build();
    tell_allocates_nothing_and_an_ask_its_reply_slot().await;
    idle_actor_has_three_allocations().await;
}
