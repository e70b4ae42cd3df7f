//! Both ends of the bus: with any frame in the inbox, and any frame published for a client, the next ask
//! is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::bus::keys::Keys;
use crate::bus::open::{open_client, open_server};
use crate::bus::transport::{ClientTransport, Epoch, ReplySink, ServerTransport};
use crate::fuzz::decoders::{Rich, replies, requests};
use crate::fuzz::target;
use crate::prelude::*;
use crate::reply::remote::ClientId;
use crate::{ProxyClient, start_proxy};

/// Longer than any answer takes.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Rich", response = u32)]
struct Ask(Rich);

#[derive(Actor)]
#[actor(urn = "rich")]
struct Answerer;

#[handlers]
impl Answerer {
    #[handler]
    fn ask(&mut self, Ask(rich): Ask) -> u32 {
        rich.number.wrapping_mul(2)
    }
}

/// A bus with both ends, and the raw ends of a hostile peer.
struct Stage {
    runtime: Runtime,
    _system: ActorSystem,
    client: ProxyClient,
    raw_client: Arc<dyn ClientTransport>,
    node: Keys,
    raw_server: Arc<dyn ServerTransport>,
    epoch: Epoch,
}

/// Drops replies.
struct NoSink;

impl ReplySink for NoSink {
    fn receive(&self, _: Bytes) {}
}

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let config = Config::memory();
        let opened = runtime.block_on(async {
            let system = ActorSystem::new();
            start_proxy(&system, &config).await.expect("it serves");
            system.spawn(Answerer).await.expect("it starts");
            let client = ProxyClient::connect(&config).await.expect("it connects");
            // The client id of the seeds.
            let (id, health) = (ClientId([7; 16]), Arc::default());
            let raw = open_client(&config, id, Arc::new(NoSink), &health).await;
            let raw = raw.expect("it connects");
            let (lease, _) = raw.lease(&config.keys()).await.expect("a lease");
            let server = open_server(&config, &health).await.expect("it opens");
            let epoch = lease.expect("it is served").epoch;
            (system, client, raw, epoch, server)
        });
        Self {
            raw_server: opened.4,
            runtime,
            _system: opened.0,
            client: opened.1,
            raw_client: opened.2,
            node: config.keys(),
            epoch: opened.3,
        }
    }

    async fn is_alive(&self) {
        let ask = self.client.ask("rich", Ask(Rich::example()));
        assert_eq!(ask.timeout(ASK_TIMEOUT).await, Ok(42));
        assert_eq!(self.client.in_flight(), 0);
    }

    fn push(&self, frame: Vec<u8>) {
        self.runtime.block_on(async {
            let frames = vec![Bytes::from(frame).into()];
            let pushed = self.raw_client.enqueue(&self.node, self.epoch, frames);
            let pushed = pushed.await;
            pushed.expect("it is pushed");
            self.is_alive().await;
        });
    }

    fn publish(&self, frame: Vec<u8>) {
        self.runtime.block_on(async {
            let frame = Bytes::from(frame).into();
            let published = self.raw_server.publish(self.client.id(), frame).await;
            assert_eq!(published, Ok(Some(1)));
            self.is_alive().await;
        });
    }
}

target!(inbox_with_any_frame, requests(), {
    let stage = Stage::new();
    move |frame| stage.push(frame)
});

target!(channel_with_any_frame, replies(), {
    let stage = Stage::new();
    move |frame| stage.publish(frame)
});
