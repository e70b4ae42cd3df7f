//! Peers that know a client's password, and do what they like with it.

use std::future::pending;
use std::time::{Duration, Instant};

use conclib::bus::ConnectionState;
use conclib::prelude::*;
use conclib_tests::actors::ReplyHolder;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Carry, Double, Fill, Hold, Release};
use conclib_tests::process::Program;
use conclib_tests::wire::{CLIENT, Request, contents};
use conclib_tests::{MS, SECOND, eventually, within};
use serde_bytes::ByteBuf;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::raw::{Answers, Peer};

/// The status of an answer for which there was no room.
const OVERLOADED: u8 = 4;

/// Never handles its first message to the end.
#[derive(Actor, Debug)]
#[actor(urn = "stuck", mailbox = 20_000)]
struct Stuck;

#[handlers]
impl Stuck {
    #[handler]
    async fn carry(&mut self, _: Carry) -> usize {
        pending().await
    }
}

/// Waits until an actor has handled that many messages.
async fn has_handled(system: &ActorSystem, urn: &str, count: u64) {
    eventually("the messages are handled", async || {
        let snapshot = system.snapshot();
        snapshot
            .actor(urn)
            .is_some_and(|actor| actor.handled >= count)
    })
    .await;
}

/// Writes requests of made-up clients to the inbox, again and again.
fn flood(peer: Peer, inbox: String, pause: Duration, batch: u64) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        for round in 0.. {
            let numbers = round * batch..(round + 1) * batch;
            let frames = numbers.map(|number| Request::made_up(number).frame());
            peer.push(&inbox, frames.collect()).await;
            sleep(pause).await;
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_actor_leaves_room_for_the_others() {
    const MIB: usize = 1024 * 1024;
    let fixture = Bus::redis().await.fixture().await;
    let stuck = fixture.system.spawn(Stuck).await.unwrap();
    let bytes = ByteBuf::from(vec![7; MIB]);
    for _ in 0..100 {
        let carry = Carry {
            bytes: bytes.clone(),
        };
        fixture.client.tell("stuck", carry).await.unwrap();
    }
    let full = fixture.client.ask("stuck", Carry { bytes });
    let full = full.timeout(SECOND).await;
    assert!(matches!(full, Err(AskError::Overloaded { .. })), "{full:?}");
    for n in 0..1_000 {
        let doubled = fixture.client.ask("worker", Double { n }).await;
        assert_eq!(doubled, Ok(2 * n));
    }
    stuck.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_that_goes_on_writing_does_not_delay_the_end() {
    for of_system in [false, true] {
        let fixture = Bus::redis().await.fixture().await;
        let peer = Peer::connect(&fixture.bus.config).await;
        let inbox = peer.inbox().await;
        let _flood = flood(peer, inbox, MS, 2);
        has_handled(&fixture.system, "worker", 100).await;
        let begun = Instant::now();
        if of_system {
            assert!(fixture.system.shutdown().await.is_clean());
        } else {
            fixture.proxy.shutdown().await;
        }
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_lose_their_subscriptions_together_get_all_answers() {
    let fixture = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&fixture.bus.config).await;
    let mut asks = Vec::new();
    for n in 0..400 {
        let client = fixture.bus.client().await;
        assert_eq!(client.ask("worker", Double { n }).await, Ok(2 * n));
        let held = client.ask("holder", Hold);
        asks.push(tokio::spawn(async move { (client, held.await) }));
    }
    has_handled(&fixture.system, "holder", 400).await;
    let holder = fixture.system.actor::<ReplyHolder>("holder").unwrap();
    peer.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(holder.ask(Release { n: 8 }).await, Ok(400));
    for ask in asks {
        let (_, answer) = within(ask).await.unwrap();
        assert_eq!(answer, Ok(8));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_clients_take_no_answers_from_others() {
    let fixture = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&fixture.bus.config).await;
    let inbox = peer.inbox().await;
    let _flood = flood(Peer::connect(&fixture.bus.config).await, inbox, 5 * MS, 50);
    let holder = fixture.system.actor::<ReplyHolder>("holder").unwrap();
    // From now on it is known to receive answers.
    let doubled = fixture.client.ask("worker", Double { n: 1 }).await;
    assert_eq!(doubled, Ok(2));
    let mut state = fixture.client.connection_state();
    for round in 1..=5 {
        within(state.wait_for(ConnectionState::is_connected))
            .await
            .unwrap();
        let ask = || tokio::spawn(fixture.client.ask("holder", Hold).into_future());
        let asks: Vec<_> = (0..40).map(|_| ask()).collect();
        has_handled(&fixture.system, "holder", 41 * round - 1).await;
        peer.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(holder.ask(Release { n: 8 }).await, Ok(40));
        for ask in asks {
            assert_eq!(within(ask).await.unwrap(), Ok(8), "in round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_frames_in_one_pop_are_all_answered_in_bounded_memory() {
    const SIZE: usize = 4_000_000;
    let frames = std::env::var("CONCLIB_LARGE_FRAMES").ok();
    let frames = frames.map_or(96, |count| count.parse().unwrap());
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    let program = env!("CARGO_BIN_EXE_actor_process");
    let mut actors = Program::start(program, &[&bus.url()]);
    actors.line("ready").await;
    let mut answers = Answers::of(&CLIENT, &bus.config).await;
    let request = Request {
        message: "Carry".to_owned(),
        contents: contents("bytes", ByteBuf::from(vec![7; SIZE])),
        ..Request::double(0, 0)
    };
    // They gather at another key, so that they come in one pop.
    for id in 0..frames {
        let frame = Request {
            id,
            ..request.clone()
        };
        peer.push("conclib:{n:main}:gathered", vec![frame.frame()])
            .await;
    }
    let inbox = peer.inbox().await;
    peer.command(&["RENAME", "conclib:{n:main}:gathered", &inbox])
        .await;
    let (mut handled, mut refused) = (0, 0);
    while handled + refused < frames {
        for (_, status, ..) in answers.next().await {
            match status {
                0 => handled += 1,
                OVERLOADED => refused += 1,
                status => panic!("{status}"),
            }
        }
    }
    assert!(handled >= 8, "{handled} handled, {refused} refused");
    let most = actors.peak_memory() / 1024;
    println!("{handled} handled, {refused} refused, at most {most} MiB");
    assert!(most < 300, "{most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_overrun_no_client() {
    const SIZE: usize = 4_000_000;
    let fixture = Bus::redis().await.fixture().await;
    let mut state = fixture.client.connection_state();
    state.mark_unchanged();
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let client = fixture.client.clone();
            tokio::spawn(async move {
                let (mut answered, mut refused) = (0, 0);
                for _ in 0..4 {
                    match client.ask("worker", Fill { bytes: SIZE }).await {
                        Ok(bytes) => {
                            assert_eq!(bytes.len(), SIZE);
                            answered += 1;
                        }
                        Err(AskError::BadResponse { .. }) => refused += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                (answered, refused)
            })
        })
        .collect();
    let begun = Instant::now();
    let (mut answered, mut refused) = (0, 0);
    for caller in callers {
        let counts = within(caller).await.unwrap();
        answered += counts.0;
        refused += counts.1;
    }
    println!(
        "{answered} answered, {refused} refused, in {:?}",
        begun.elapsed()
    );
    assert_eq!(answered + refused, 256);
    assert!(answered >= 16, "{answered}");
    assert!(!state.has_changed().unwrap(), "the subscription was cut");
}
