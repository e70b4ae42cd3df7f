//! Allocations of messages: none for a tell, the reply slot for an ask.

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

// The only test of its process.
#[tokio::test(flavor = "current_thread")]
async fn tell_allocates_nothing_and_an_ask_its_reply_slot() {
    let _counting = dhat::Profiler::builder().testing().build();
    let system = ActorSystem::new();
    let adder = system.spawn(Adder(0)).await.unwrap();
    for _ in 0..10 {
        burst(&adder).await; // until the buffers have their final size
    }

    // The counts are of the whole process, and the thread of the test runner may allocate
    // meanwhile: the smallest of a few counts is without it.
    let mut smallest = (u64::MAX, usize::MAX);
    for _ in 0..ROUNDS {
        let before = HeapStats::get();
        for _ in 0..100 {
            burst(&adder).await;
        }
        let after = HeapStats::get();
        let blocks = after.total_blocks - before.total_blocks;
        let stays = after.curr_blocks.saturating_sub(before.curr_blocks);
        smallest = smallest.min((blocks, stays));
    }
    assert_eq!(smallest, (100, 0), "one per ask, and nothing stays");
    let bursts = 10 + 100 * ROUNDS + 1;
    assert_eq!(burst(&adder).await, bursts * (0..BURST).sum::<u64>());
}
