//! The simple way over Redis: a list for requests, a channel for the replies of a client, and one
//! command after another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, ListInterface, PubsubInterface};
use fred::types::config::Config;
use fred::types::{Builder, Value};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Problem;
use crate::load::Ask;

const REQUESTS: &str = "naive:requests";

/// The timeout of a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Replies that may wait to be received: beyond, fred loses them. Its default is 32.
const REPLIES: usize = 8192;

/// A request, as it is pushed, or a reply, as it is published.
#[derive(Serialize, Deserialize)]
struct Frame {
    id: u64,
    /// The channel of the asker.
    reply_to: String,
    payload: ByteBuf,
}

async fn connect(port: u16) -> Result<Client, Problem> {
    let config = Config::from_url(&format!("redis://127.0.0.1:{port}"))?;
    let client = Builder::from_config(config)
        .with_connection_config(|connection| connection.tcp.nodelay = Some(true))
        .with_performance_config(|performance| performance.broadcast_channel_capacity = REPLIES)
        .build()?;
    client.init().await?;
    Ok(client)
}

/// Serves as long as the server does.
pub(crate) async fn respond(port: u16, ready: impl FnOnce()) -> Result<(), Problem> {
    let client = connect(port).await?;
    ready();
    loop {
        let (_, bytes): (String, Bytes) = client.blpop(REQUESTS, 0.0).await?;
        let request: Frame = rmp_serde::from_slice(&bytes)?;
        let reply = rmp_serde::to_vec(&request)?;
        let _: i64 = client.publish(request.reply_to, reply.as_slice()).await?;
    }
}

/// Waiting askers, by the ids of their requests.
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<ByteBuf>>>>;

/// The asking end.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Pushes the requests.
    client: Client,
    /// The subscribed connection, kept alive.
    _subscriber: Client,
    /// The name of that channel.
    channel: Arc<str>,
    pending: Pending,
    next: Arc<AtomicU64>,
}

impl Caller {
    pub(crate) async fn connect(port: u16) -> Result<Self, Problem> {
        let client = connect(port).await?;
        let subscriber = connect(port).await?;
        let channel: Arc<str> = format!("naive:replies:{}", std::process::id()).into();
        let pending = Pending::default();
        tokio::spawn(receive(subscriber.clone(), pending.clone()));
        subscriber.subscribe(&*channel).await?;
        // The subscription is there when this has a reply.
        let _: Value = subscriber.ping(None).await?;
        Ok(Self {
            client,
            _subscriber: subscriber,
            channel,
            pending,
            next: Arc::default(),
        })
    }
}

/// Gives each reply to its asker.
async fn receive(subscriber: Client, pending: Pending) {
    let mut messages = subscriber.message_rx();
    while let Ok(message) = messages.recv().await {
        let Some(bytes) = message.value.as_bytes() else {
            continue;
        };
        let Ok(reply) = rmp_serde::from_slice::<Frame>(bytes) else {
            continue;
        };
        let asker = pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&reply.id);
        if let Some(asker) = asker {
            // Whoever asked may have given up.
            let _ = asker.send(reply.payload);
        }
    }
}

impl Ask for Caller {
    type Reply = ByteBuf;

    async fn ask(&self, payload: Vec<u8>) -> Result<ByteBuf, Problem> {
        let request = Frame {
            id: self.next.fetch_add(1, Relaxed),
            reply_to: (*self.channel).to_owned(),
            payload: ByteBuf::from(payload),
        };
        let bytes = rmp_serde::to_vec(&request)?;
        let (sender, reply) = oneshot::channel();
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(request.id, sender);
        let _: i64 = self.client.rpush(REQUESTS, bytes.as_slice()).await?;
        Ok(timeout(REPLY_TIMEOUT, reply).await??)
    }
}
