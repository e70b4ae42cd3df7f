//! A peer that writes and reads raw frames.

use std::collections::BTreeMap;
use std::time::Duration;

use conclib::Config;
use conclib_tests::wire::{Request, VERSION, inbox};
use conclib_tests::{eventually, within};
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, KeysInterface, ListInterface, PubsubInterface};
use fred::types::config::Config as FredConfig;
use fred::types::{Builder, ClusterHash, CustomCommand, Message, Value};
use serde_bytes::ByteBuf;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

/// A raw connection to Redis.
pub(crate) struct Peer {
    redis: Client,
}

impl Peer {
    pub(crate) async fn connect(config: &Config) -> Self {
        let url = format!("redis://127.0.0.1:{}", config.port().unwrap());
        let redis = Builder::from_config(FredConfig::from_url(&url).unwrap())
            .build()
            .unwrap();
        redis.init().await.unwrap();
        Self { redis }
    }

    /// Runs a command; its reply as text.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let command = CustomCommand::new(words[0], ClusterHash::FirstKey, false);
        let rest: Vec<String> = words[1..].iter().map(|&word| word.to_owned()).collect();
        let reply: Value = self.redis.custom(command, rest).await.unwrap();
        reply.as_string().unwrap_or_default()
    }

    /// The process id of the Redis.
    pub(crate) async fn process(&self) -> String {
        let info = self.command(&["INFO", "server"]).await;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"));
        line.unwrap().trim().to_owned()
    }

    /// True while a system holds the lease.
    pub(crate) async fn has_lease(&self) -> bool {
        self.command(&["EXISTS", "conclib:{n:main}:lease"]).await == "1"
    }

    /// The inbox of the lease's holder.
    pub(crate) async fn inbox(&self) -> String {
        let key = "conclib:{n:main}:lease";
        let lease = self.redis.get::<Vec<u8>, _>(key).await.unwrap();
        let (epoch, ..): Lease = rmp_serde::from_slice(&lease).unwrap();
        inbox(epoch)
    }

    pub(crate) async fn push(&self, key: &str, frames: Vec<Vec<u8>>) {
        let frames: Vec<Value> = frames.into_iter().map(|f| Value::Bytes(f.into())).collect();
        let _: u64 = self.redis.rpush(key, frames).await.unwrap();
    }

    /// Waits for a request and takes it off an inbox.
    pub(crate) async fn pop(&self, key: &str) -> Request {
        let popped: (String, Vec<u8>) = self.redis.blpop(key, 30.0).await.unwrap();
        rmp_serde::from_slice(&popped.1).unwrap()
    }

    /// Waits until a connection of this Redis is blocked in a pop.
    pub(crate) async fn waits_for_a_pop(&self) {
        eventually("a connection waits in a pop", async || {
            let info = self.command(&["INFO", "clients"]).await;
            info.contains("\nblocked_clients:1\r")
        })
        .await;
    }

    /// Waits until everything in the inbox has been taken.
    pub(crate) async fn drained(&self, key: &str) {
        eventually("the inbox is empty", async || {
            self.redis.llen::<u64, _>(key).await.unwrap() == 0
        })
        .await;
    }

    pub(crate) async fn publish(&self, client: &[u8; 16], frame: Vec<u8>) -> u64 {
        self.redis
            .publish(channel(client), Value::Bytes(frame.into()))
            .await
            .unwrap()
    }

    /// The channels with subscribers.
    pub(crate) async fn channels(&self) -> Vec<String> {
        let command = CustomCommand::new("PUBSUB", ClusterHash::FirstKey, false);
        let pattern = vec!["CHANNELS", "conclib:*:reply"];
        self.redis.custom(command, pattern).await.unwrap()
    }

    /// Writes a lease without serving.
    pub(crate) async fn pretend_to_serve(&self, epoch: u64) {
        let (versions, limit) = ((VERSION, VERSION), (1_000_000,));
        let lease: Lease = (
            epoch,
            versions,
            limit,
            6_000,
            true,
            String::new(),
            String::new(),
            0,
            0,
        );
        self.lease(rmp_serde::to_vec(&lease).unwrap()).await;
    }

    pub(crate) async fn lease(&self, lease: Vec<u8>) {
        let key = "conclib:{n:main}:lease";
        let lease = Value::Bytes(lease.into());
        let _: () = self.redis.set(key, lease, None, None, false).await.unwrap();
    }
}

/// Epoch, versions, limits, length in ms, whether its owner serves, instance, owner, age, attempt.
type Lease = (u64, (u8, u8), (u64,), u64, bool, String, String, u64, u32);

fn channel(client: &[u8; 16]) -> String {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in client {
        write!(hex, "{byte:02x}").unwrap();
    }
    format!("conclib:{{c:{hex}}}:reply")
}

/// A subscription to the answers of a client.
pub(crate) struct Answers {
    messages: Receiver<Message>,
    /// Its own connection, since a subscribed one takes no other commands.
    _peer: Peer,
}

/// Id, status, message, attributes, contents.
pub(crate) type Answer = (u64, u8, String, BTreeMap<String, String>, ByteBuf);

impl Answers {
    /// Subscribes to the channel of a client.
    pub(crate) async fn of(client: &[u8; 16], config: &Config) -> Self {
        let peer = Peer::connect(config).await;
        let messages = peer.redis.message_rx();
        peer.redis.subscribe(channel(client)).await.unwrap();
        let _: Value = peer.redis.ping(None).await.unwrap(); // it is subscribed
        Self {
            messages,
            _peer: peer,
        }
    }

    /// The answers of the next frame.
    pub(crate) async fn next(&mut self) -> Vec<Answer> {
        let message = within(self.messages.recv()).await.unwrap();
        let bytes = message.value.as_bytes().unwrap().to_vec();
        let (version, _, answers): (u8, u64, Vec<Answer>) = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(version, VERSION);
        answers
    }

    /// True if no frame comes within that time.
    pub(crate) async fn silent(&mut self, time: Duration) -> bool {
        timeout(time, self.messages.recv()).await.is_err()
    }
}
