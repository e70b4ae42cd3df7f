//! A peer that knows the keys of the bus, and writes what it likes.

use conclib_tests::chaos::now;
use conclib_tests::random::Random;
use conclib_tests::wire::{Request, VERSION, contents, inbox};
use serde_bytes::ByteBuf;
use tokio::time::{Instant, sleep};

use crate::faults::millis;
use crate::fixture::{ChaosFixture, UnreadableEntry};

/// The number of made-up clients: less than a proxy remembers.
const CLIENTS: u32 = 20_000;

/// The most large frames of one attack.
const LARGE_FRAMES: u32 = 4;

/// The beginning of the keys of unreadable entries.
pub(crate) const KEY: &str = "hostile-";

impl ChaosFixture {
    /// Writes requests, cancellations, and what cannot be read, for some seconds.
    pub(crate) async fn attack(&mut self, chance: &mut Random) {
        let end = Instant::now() + millis(chance, 1_000, 4_000);
        let mut large = 0;
        while Instant::now() < end {
            match chance.below(16) {
                0 if large < LARGE_FRAMES => {
                    large += 1;
                    self.push(vec![large_frame(chance)]).await;
                }
                0..4 => self.store_unreadable(chance).await,
                4..8 => self.push_many(chance, unreadable).await,
                8..11 => self.push_many(chance, control).await,
                _ => {
                    self.push_many(chance, |chance| request(chance).frame())
                        .await;
                }
            }
            sleep(millis(chance, 1, 20)).await;
        }
    }

    async fn push_many(&self, chance: &mut Random, frame: fn(&mut Random) -> Vec<u8>) {
        let count = 1 + chance.below(100);
        let frames = (0..count).map(|_| frame(chance)).collect();
        self.push(frames).await;
    }

    /// Appends frames to the inbox of the last lease.
    async fn push(&self, frames: Vec<Vec<u8>>) {
        let epochs = self.redis.command(&["GET", "conclib:{n:main}:epoch"]).await;
        let newest = epochs
            .split(':')
            .next() // its owner follows
            .and_then(|epoch| epoch.parse().ok());
        let Some(newest) = newest else {
            return; // there has been none since Redis lost its data
        };
        let inbox = inbox(newest);
        let mut words: Vec<&[u8]> = vec![b"RPUSH", inbox.as_bytes()];
        words.extend(frames.iter().map(Vec::as_slice));
        self.redis.send(&words).await.unwrap();
    }

    /// Adds an entry to the stream that can only become a dead letter.
    async fn store_unreadable(&mut self, chance: &mut Random) {
        let frame = match chance.below(3) {
            0 => Vec::new(),
            1 => noise(chance),
            // The contents are not those of the message.
            _ => Request {
                message: "Work".to_owned(),
                ..request(chance)
            }
            .frame(),
        };
        let number = u64::try_from(self.unreadable.len()).unwrap();
        let key = format!("{KEY}{number}");
        let mut words: Vec<&[u8]> = vec![b"XADD", b"conclib:{n:main}:durable", b"*", b"k"];
        words.push(key.as_bytes());
        if !frame.is_empty() {
            words.extend([&b"f"[..], &frame]);
        }
        let at = now();
        self.redis.send(&words).await.unwrap();
        self.unreadable.push(UnreadableEntry { number, at });
    }
}

/// A request of a made-up client, which leaves no record.
fn request(chance: &mut Random) -> Request {
    let client = u64::from(chance.below(CLIENTS));
    Request {
        kind: u8::from(chance.one_in(2)),
        id: chance.any(),
        urn: (*chance.of(&["quick", "slow", "frail"])).to_owned(),
        message: (*chance.of(&["Bulk", "Work", "None"])).to_owned(),
        contents: contents("bytes", 100),
        deadline: *chance.of(&[0, now() + 2_000, u64::MAX]),
        ..Request::made_up(client)
    }
}

/// A cancellation, a wake, a confirmation, or nothing that there is.
fn control(chance: &mut Random) -> Vec<u8> {
    let kind = *chance.of(&[2, 3, 4, 200]);
    Request {
        kind,
        ..request(chance)
    }
    .frame()
}

/// A frame that is no request.
fn unreadable(chance: &mut Random) -> Vec<u8> {
    let request = request(chance);
    match chance.below(5) {
        0 => noise(chance),
        1 => {
            let mut frame = request.frame();
            frame.truncate(chance.below(80) as usize);
            frame
        }
        2 => vec![0x91; 10_000],                 // arrays in arrays
        3 => vec![0xdd, 0xff, 0xff, 0xff, 0xff], // an array that claims to be long
        _ => Request {
            version: VERSION + 1,
            ..request
        }
        .frame(),
    }
}

fn noise(chance: &mut Random) -> Vec<u8> {
    let length = 1 + chance.below(200);
    (0..length).map(|_| chance.any().to_be_bytes()[0]).collect()
}

/// A request as large as may be, or larger.
fn large_frame(chance: &mut Random) -> Vec<u8> {
    let size = *chance.of(&[4_000_000, 5_000_000]);
    Request {
        urn: "stuck".to_owned(),
        message: "Ballast".to_owned(),
        contents: contents("bytes", ByteBuf::from(vec![7; size])),
        ..request(chance)
    }
    .frame()
}
