//! The measurements, generic over the framework. Each returns its row's figure, and panics if a reply
//! is wrong.

use std::time::{Duration, Instant};

use conclib_benches::process;
use tokio::sync::mpsc;

use crate::peer::{Counting, Peer, beats};
use crate::peers::Registered;
use crate::stint::Stint;

/// The amount of a row's work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// The count of a row: messages of a burst, actors, or URNs.
    pub(crate) size: u64,
    /// The measured time, without the warm-up.
    pub(crate) time: Duration,
}

/// The sum of `0..burst`, which every burst of tells adds.
fn sum_of(burst: u64) -> u64 {
    burst * burst.saturating_sub(1) / 2
}

/// Nanoseconds for each message of one sender, until all are handled.
pub(crate) async fn tell<P: Peer>(scale: Scale) -> f64 {
    let peer = P::new();
    let actor = peer.spawn().await;
    let mut stint = Stint::new(scale.time);
    let mut expected = 0;
    while stint.goes_on() {
        let began = Instant::now();
        for n in 0..scale.size {
            peer.tell(&actor, n).await;
        }
        let sum = peer.ask(&actor, 0).await;
        stint.add(scale.size, began.elapsed());
        expected += sum_of(scale.size);
        assert_eq!(sum, expected, "every message is handled once");
    }
    stint.nanoseconds()
}

/// The same, of several senders at once.
pub(crate) async fn tell_at_once<P: Peer>(scale: Scale, senders: usize) -> f64 {
    let peer = P::new();
    let actor = peer.spawn().await;
    let mut stint = Stint::new(scale.time);
    let mut expected = 0;
    while stint.goes_on() {
        let began = Instant::now();
        let tasks: Vec<_> = (0..senders as u64)
            .map(|first| {
                let (peer, actor) = (peer.clone(), actor.clone());
                tokio::spawn(async move {
                    for n in (first..scale.size).step_by(senders) {
                        peer.tell(&actor, n).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the sender has sent all");
        }
        let sum = peer.ask(&actor, 0).await;
        stint.add(scale.size, began.elapsed());
        expected += sum_of(scale.size);
        assert_eq!(sum, expected, "every message is handled once");
    }
    stint.nanoseconds()
}

/// Nanoseconds for each request, asked one after another.
pub(crate) async fn ask<P: Peer>(scale: Scale) -> f64 {
    let peer = P::new();
    let actor = peer.spawn().await;
    let mut stint = Stint::new(scale.time);
    let mut expected = 0;
    while stint.goes_on() {
        let began = Instant::now();
        for _ in 0..scale.size {
            expected += 1;
            let sum = peer.ask(&actor, 1).await;
            assert_eq!(sum, expected, "every reply is its request's");
        }
        stint.add(scale.size, began.elapsed());
    }
    stint.nanoseconds()
}

/// Nanoseconds for each request of several askers, each of which asks one after another.
pub(crate) async fn ask_at_once<P: Peer>(scale: Scale, askers: u64) -> f64 {
    let peer = P::new();
    let actor = peer.spawn().await;
    let each = (scale.size / askers).max(1);
    let mut stint = Stint::new(scale.time);
    let mut expected = 0;
    while stint.goes_on() {
        let began = Instant::now();
        let tasks: Vec<_> = (0..askers)
            .map(|_| {
                let (peer, actor) = (peer.clone(), actor.clone());
                tokio::spawn(async move {
                    let mut last = 0;
                    for _ in 0..each {
                        let sum = peer.ask(&actor, 1).await;
                        assert!(sum > last, "replies come in order");
                        last = sum;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the asker has every reply");
        }
        stint.add(each * askers, began.elapsed());
        expected += each * askers;
        let sum = peer.ask(&actor, 0).await;
        assert_eq!(sum, expected, "every request is handled once");
    }
    stint.nanoseconds()
}

/// Nanoseconds for each actor until its first reply, one after another. They stop outside the
/// measured time.
pub(crate) async fn spawn<P: Peer>(scale: Scale) -> f64 {
    let peer = P::new();
    let mut stint = Stint::new(scale.time);
    while stint.goes_on() {
        let mut actors = Vec::new();
        let began = Instant::now();
        for _ in 0..scale.size {
            let actor = peer.spawn().await;
            assert_eq!(peer.ask(&actor, 7).await, 7, "each replies");
            actors.push(actor);
        }
        stint.add(scale.size, began.elapsed());
        peer.stop(actors).await;
    }
    stint.nanoseconds()
}

/// Resident bytes of each actor that has handled one message, with one reference to it.
pub(crate) async fn idle<P: Peer>(scale: Scale) -> f64 {
    let peer = P::new();
    // The memory that the process needs once.
    let first = peer.spawn().await;
    peer.ask(&first, 1).await;
    let before = resident();
    let mut actors = Vec::new();
    for n in 0..scale.size {
        let actor = peer.spawn().await;
        assert_eq!(peer.ask(&actor, n).await, n, "each replies");
        actors.push(actor);
    }
    let after = resident();
    drop(actors);
    (after - before) / float(scale.size)
}

/// Seconds of processor time that periodic actors take within the measured time.
pub(crate) async fn periodic<P: Peer>(scale: Scale) -> f64 {
    let peer = P::new();
    let actors = usize::try_from(scale.size).expect("so many actors can be numbered");
    peer.periodic(actors).await;
    tokio::time::sleep(Duration::from_secs(1).min(scale.time)).await;
    let (beats_before, cpu_before) = (beats(), cpu());
    let began = Instant::now();
    tokio::time::sleep(scale.time).await;
    let (handled, took) = (beats() - beats_before, cpu() - cpu_before);
    let periods = began.elapsed().as_secs_f64() / crate::peer::PERIOD.as_secs_f64();
    let due = periods * float(scale.size);
    // A short time holds so few periods that one more or less is more than that.
    let tolerance = 0.05_f64.max(1.5 / periods);
    assert!(
        (float(handled) / due - 1.0).abs() <= tolerance,
        "{handled} ticks came where {due:.0} were due"
    );
    took
}

/// Nanoseconds for each hop of one token around a ring.
pub(crate) async fn ring<P: Peer>(scale: Scale) -> f64 {
    /// The number of rounds of the token per measurement.
    const LAPS: u64 = 20;

    let peer = P::new();
    let (done, mut finished) = mpsc::unbounded_channel();
    let length = usize::try_from(scale.size).expect("so many actors can be numbered");
    let first = peer.ring(length, done).await;
    let mut stint = Stint::new(scale.time);
    while stint.goes_on() {
        let began = Instant::now();
        peer.pass(&first, LAPS * scale.size).await;
        finished.recv().await.expect("the ring lives");
        stint.add(LAPS * scale.size, began.elapsed());
    }
    stint.nanoseconds()
}

/// Nanoseconds for each message to one of many actors, in a random order, until all are handled.
pub(crate) async fn tell_many<P: Counting>(scale: Scale) -> f64 {
    const BURST: usize = 100_000;

    let peer = P::new();
    let mut actors = Vec::new();
    for _ in 0..scale.size {
        actors.push(peer.spawn().await);
    }
    let order: Vec<_> = random_order(BURST, actors.len());
    let mut expected = 0;
    let mut stint = Stint::new(scale.time);
    while stint.goes_on() {
        expected += BURST as u64;
        let began = Instant::now();
        for &actor in &order {
            peer.count(&actors[actor]).await;
        }
        while beats() < expected {
            tokio::task::yield_now().await;
        }
        stint.add(BURST as u64, began.elapsed());
        assert_eq!(beats(), expected, "every message is handled once");
    }
    stint.nanoseconds()
}

/// Nanoseconds for each request to one of many URNs, in a random order.
pub(crate) async fn ask_by_urn(scale: Scale) -> f64 {
    const BURST: usize = 50_000;

    let count = usize::try_from(scale.size).expect("so many actors can be numbered");
    let registered = Registered::new(count).await;
    let order = random_order(BURST, count);
    let mut sums = vec![0; count];
    let mut stint = Stint::new(scale.time);
    while stint.goes_on() {
        let began = Instant::now();
        for &actor in &order {
            sums[actor] += 1;
            let sum = registered.ask(actor, 1).await;
            assert_eq!(sum, sums[actor], "the actor of that URN replies");
        }
        stint.add(BURST as u64, began.elapsed());
    }
    stint.nanoseconds()
}

/// Numbers below `bound`, the same in every process.
fn random_order(length: usize, bound: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(42);
    (0..length).map(|_| random.usize(..bound)).collect()
}

fn resident() -> f64 {
    let bytes = process::resident_bytes(std::process::id());
    float(bytes.expect("this system tells a process' memory"))
}

fn cpu() -> f64 {
    process::cpu_seconds(std::process::id()).expect("this system tells a process' time")
}

/// Counts of messages and bytes stay far below the 52 bits that a float keeps exactly.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
