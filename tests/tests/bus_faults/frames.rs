//! Frames that break the protocol.

use std::time::Duration;

use conclib::{AskError, ProxyClient};
use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::messages::{Double, Hold, Release};
use conclib_tests::wire::{CLIENT, Request, VERSION, inbox, reply};
use conclib_tests::{TEST_TIMEOUT, eventually, within};
use tokio::time::timeout;

use crate::raw::{Answers, Peer};

/// Statuses of answers.
const DONE: u8 = 0;
const NO_RESPONDER: u8 = 1;
const ACTOR_NOT_FOUND: u8 = 2;
const UNHANDLED: u8 = 3;
const EXPIRED: u8 = 5;
const BAD_REQUEST: u8 = 10;
const TOO_LARGE: u8 = 12;
const INCOMPATIBLE: u8 = 13;

async fn fixture() -> (BusFixture, Peer, String) {
    let fixture = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&fixture.bus.config).await;
    let inbox = peer.inbox().await;
    (fixture, peer, inbox)
}

/// A beginning, and then nested arrays without end.
fn nested(beginning: &[u8]) -> Vec<u8> {
    [beginning, &vec![0x91; 100_000]].concat()
}

/// A request with one change.
fn changed(mut request: Request, change: impl FnOnce(&mut Request)) -> Vec<u8> {
    change(&mut request);
    request.frame()
}

async fn lives_on(client: &ProxyClient) {
    let asked = timeout(TEST_TIMEOUT, client.ask("worker", Double { n: 4 })).await;
    assert_eq!(asked.unwrap(), Ok(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_inbox_does_no_harm() {
    let (fixture, peer, inbox) = fixture().await;
    let whole = Request::double(1, 1).frame();
    let mut frames: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0xc1; 100],
        b"text".to_vec(),
        nested(&[]),                 // nested without end
        nested(&[0x99, VERSION, 0]), // in a place of its own
        nested(&whole),
        vec![0xdd, 0xff, 0xff, 0xff, 0xff], // an array of four billion
        vec![0xdf, 0xff, 0xff, 0xff, 0xff],
        vec![0xc6, 0xff, 0xff, 0xff, 0xff],
        vec![0xff; 3_000_000],
    ];
    frames.extend((0..whole.len()).map(|cut| whole[..cut].to_vec()));
    for (place, number) in (0..whole.len()).zip((0_u8..=255).cycle().step_by(37)) {
        let mut broken = whole.clone();
        broken[place] ^= number | 1;
        frames.push(broken);
    }
    peer.push(&inbox, frames).await;
    peer.drained(&inbox).await;
    lives_on(&fixture.client).await;
    assert!(fixture.system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_of_known_senders_are_answered() {
    let (fixture, peer, inbox) = fixture().await;
    let mut answers = Answers::of(&CLIENT, &fixture.bus.config).await;
    let mut ids = 1..; // an id that is not newer is a repeat
    let mut good = || Request::double(ids.next().unwrap(), 21);
    let after = |head: &[u8]| [head, &[0xc0]].concat();
    // An array of five, and its first four elements.
    let head = |version: u8, kind: u8, id: u8| {
        after(&[&[0x95, version, kind, id, 0xc4, 16][..], &CLIENT].concat())
    };
    let deep = nested(&head(VERSION, 0, 9)[..22]);
    let many = (0..500_000).map(|n| (n.to_string(), String::new()));
    let requests = [
        (good().frame(), DONE),
        (head(VERSION, 0, 2), BAD_REQUEST),
        (head(9, 0, 2), INCOMPATIBLE),
        (head(VERSION, 77, 2), BAD_REQUEST),
        (deep, BAD_REQUEST),
        (
            Request {
                version: 2,
                ..good()
            }
            .frame(),
            INCOMPATIBLE,
        ),
        (
            Request {
                kind: 200,
                ..good()
            }
            .frame(),
            BAD_REQUEST,
        ),
        (
            changed(good(), |it| it.urn = "x y".repeat(80)),
            ACTOR_NOT_FOUND,
        ),
        (
            changed(good(), |it| it.urn = "x y".repeat(1000)),
            BAD_REQUEST,
        ),
        (
            changed(good(), |it| it.message = "?".repeat(200)),
            UNHANDLED,
        ),
        (
            changed(good(), |it| it.message = "?".repeat(100_000)),
            BAD_REQUEST,
        ),
        (
            changed(good(), |it| it.attributes = many.collect()),
            BAD_REQUEST,
        ),
        (
            Request {
                deadline: 5,
                ..good()
            }
            .frame(),
            EXPIRED,
        ),
        (
            Request {
                contents: vec![0; 5_000_000].into(),
                ..good()
            }
            .frame(),
            TOO_LARGE,
        ),
        (
            Request {
                attributes: [("a".to_owned(), "b".repeat(5_000_000))].into(),
                ..good()
            }
            .frame(),
            TOO_LARGE,
        ),
    ];
    for (number, (frame, status)) in requests.into_iter().enumerate() {
        peer.push(&inbox, vec![frame]).await;
        let answer = answers.next().await.remove(0);
        assert_eq!(answer.1, status, "request {number}: {answer:?}");
        assert!(answer.4.len() < 2_000, "a text of {} bytes", answer.4.len());
    }
    lives_on(&fixture.client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_wakes_tells_and_cancels_are_not_answered() {
    let (fixture, peer, inbox) = fixture().await;
    let mut answers = Answers::of(&CLIENT, &fixture.bus.config).await;
    let frames = [1, 2, 3].map(|kind| {
        Request {
            kind,
            ..Request::double(1, 1)
        }
        .frame()
    });
    peer.push(&inbox, frames.to_vec()).await;
    let broken = Request {
        kind: 1,
        urn: "absent".to_owned(),
        ..Request::double(1, 1)
    };
    peer.push(&inbox, vec![broken.frame()]).await;
    lives_on(&fixture.client).await;
    assert!(answers.silent(Duration::from_millis(200)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_unknown_clients_do_not_crowd_out_the_known() {
    let (fixture, peer, inbox) = fixture().await;
    let mut clients = 0_u128..;
    for _ in 0..6 {
        let frames = clients.by_ref().take(3_000).map(|client| {
            let client = serde_bytes::ByteArray::new(client.to_le_bytes());
            Request {
                client,
                ..Request::double(1, 1)
            }
            .frame()
        });
        let frames = frames.collect();
        let ((), asked) = tokio::join!(
            peer.push(&inbox, frames),
            futures_util::future::join_all(
                (0..100).map(|n| fixture.client.ask("worker", Double { n }))
            ),
        );
        assert!(asked.into_iter().all(|answer| answer.is_ok()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_reply_channel_does_no_harm() {
    let (fixture, peer, _) = fixture().await;
    let client = &fixture.client;
    let held = tokio::spawn(client.ask("holder", Hold));
    eventually("it is sent", async || client.in_flight() == 1).await;
    let channels = peer.channels().await;
    let [channel] = &channels[..] else {
        panic!("{channels:?}")
    };
    let id = id_of(channel);
    let mut frames = vec![
        vec![],
        vec![0xc1; 50],
        nested(&[]),
        nested(&[0x93, VERSION, 1]),
    ];
    frames.push(vec![0xdd, 0xff, 0xff, 0xff, 0xff]);
    frames.push(reply(1, 12345, DONE, b"for absent"));
    let whole = reply(1, 12345, DONE, &[1; 20]);
    frames.extend((0..whole.len()).map(|cut| whole[..cut].to_vec()));
    for frame in frames {
        assert_eq!(peer.publish(&id, frame).await, 1);
    }
    lives_on(client).await;
    assert_eq!(client.in_flight(), 1);
    assert_eq!(client.ask("holder", Release { n: 3 }).await, Ok(1));
    assert_eq!(held.await.unwrap(), Ok(3));
}

/// The id in the name of a reply channel.
fn id_of(channel: &str) -> [u8; 16] {
    let hex = channel.split(['{', '}']).nth(1).unwrap();
    let hex = hex.strip_prefix("c:").unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(byte)
}

/// The former owner may still refuse a request that its successor executes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_of_an_earlier_epoch_ends_nothing() {
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    peer.pretend_to_serve(5).await;
    let client = bus.client().await; // it knows epoch 5
    peer.pretend_to_serve(6).await;
    // The client takes the request out of the inbox of epoch 5 as soon as it learns of epoch 6: the
    // pop must wait there already.
    let of_the_first = Peer::connect(&bus.config).await;
    let first = tokio::spawn(async move { of_the_first.pop(&inbox(5)).await });
    peer.waits_for_a_pop().await;
    let ask = tokio::spawn(client.ask("worker", Double { n: 1 }));
    let first = within(first).await.unwrap();
    let second = peer.pop(&inbox(6)).await;
    assert_eq!(first.id, second.id);
    let id = first.client.into_array();
    assert_eq!(
        peer.publish(&id, reply(5, first.id, NO_RESPONDER, &[]))
            .await,
        1
    );
    let done = rmp_serde::to_vec(&2_u32).unwrap();
    assert_eq!(peer.publish(&id, reply(6, first.id, DONE, &done)).await, 1);
    let asked = within(ask).await.unwrap();
    assert_eq!(asked, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_of_another_version_is_not_asked() {
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    let lease = rmp_serde::to_vec(&(7_u64, (2_u8, 3_u8), (1_000_u64,), "more")).unwrap();
    peer.lease(lease).await;
    let client = bus.client().await;
    match client.ask("worker", Double { n: 1 }).await {
        Err(AskError::Incompatible { reason }) => {
            assert_eq!(reason, "the actor system speaks 2 to 3, this client 1");
        }
        other => panic!("{other:?}"),
    }
    for unreadable in [b"text".to_vec(), vec![], nested(&[])] {
        peer.lease(unreadable).await;
        let asked = client.ask("worker", Double { n: 1 }).await;
        assert!(
            matches!(
                asked,
                Err(AskError::NoResponder | AskError::Incompatible { .. })
            ),
            "{asked:?}"
        );
    }
    assert_eq!(client.in_flight(), 0);
}
