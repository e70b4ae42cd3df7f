//! NATS: a subscription that replies, and requests.

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::Problem;
use crate::load::Ask;

const SUBJECT: &str = "echo";

/// Commands that may wait to be written: one of each of 4,096 callers and more. Its default is 2048.
const COMMANDS: usize = 8192;

async fn connect(port: u16) -> Result<Client, Problem> {
    let options = ConnectOptions::new().client_capacity(COMMANDS);
    Ok(options.connect(format!("nats://127.0.0.1:{port}")).await?)
}

/// Serves as long as the server does. `publish` only queues the reply, and the client writes what
/// is queued together; so a loop that awaits it is the fast form.
pub(crate) async fn respond(port: u16, ready: impl FnOnce()) -> Result<(), Problem> {
    let client = connect(port).await?;
    let mut requests = client.subscribe(SUBJECT).await?;
    // The server has the subscription when it has replied to this.
    client.flush().await?;
    ready();
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    Err("the subscription has ended".into())
}

/// The asking end.
#[derive(Clone)]
pub(crate) struct Caller {
    client: Client,
}

impl Caller {
    pub(crate) async fn connect(port: u16) -> Result<Self, Problem> {
        let client = connect(port).await?;
        Ok(Self { client })
    }
}

impl Ask for Caller {
    type Reply = Bytes;

    async fn ask(&self, payload: Vec<u8>) -> Result<Bytes, Problem> {
        let reply = self.client.request(SUBJECT, payload.into()).await?;
        Ok(reply.payload)
    }
}
