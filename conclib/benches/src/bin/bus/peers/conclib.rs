//! conclib: a typed message, its actor, and a client.

use std::future::Future;

use conclib::prelude::*;
use conclib::{Config, ProxyClient, start_proxy};
use serde_bytes::ByteBuf;

use crate::Problem;
use crate::load::Ask;
use crate::peers::traces::Traces;

const URN: &str = "echo";

/// The reply is the payload.
#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(response = ByteBuf)]
struct Echo {
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

/// Its mailbox has room for one request of each of 4,096 callers.
#[derive(Actor)]
#[actor(urn = "echo", mailbox = 8192)]
struct Echoer;

#[handlers]
impl Echoer {
    #[handler]
    fn echo(&mut self, message: Echo) -> ByteBuf {
        ByteBuf::from(message.payload)
    }
}

fn config(port: u16, traces: Traces) -> Result<Config, Problem> {
    let config = Config::new(&format!("redis://127.0.0.1:{port}"))?;
    Ok(traces.config(config))
}

/// Serves until `stop` comes; the lease is released then.
pub(crate) async fn respond(
    port: u16,
    traces: Traces,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<(), Problem> {
    traces.install()?;
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &config(port, traces)?).await?;
    system.spawn(Echoer).await?;
    ready();
    tokio::select! {
        () = stop => { system.shutdown().await; }
        _ = proxy.stopped() => return Err("the proxy has stopped".into()),
    }
    Ok(())
}

/// The asking end.
#[derive(Clone)]
pub(crate) struct Caller {
    client: ProxyClient,
}

impl Caller {
    pub(crate) async fn connect(port: u16, traces: Traces) -> Result<Self, Problem> {
        traces.install()?;
        let client = ProxyClient::connect(&config(port, traces)?).await?;
        Ok(Self { client })
    }
}

impl Ask for Caller {
    type Reply = ByteBuf;

    async fn ask(&self, payload: Vec<u8>) -> Result<ByteBuf, Problem> {
        Ok(self.client.ask(URN, Echo { payload }).await?)
    }
}
