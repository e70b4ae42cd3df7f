//! The actors of the members, and their messages.

use std::time::Duration;

use conclib::Config;
use conclib::prelude::*;
use serde_bytes::ByteBuf;
use tokio::time::sleep;

use crate::Problem;

/// The shared name.
pub(crate) const WORKER: &str = "worker";

/// Asks for work.
#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(response = Done)]
pub(crate) struct Work {
    /// Returned in the reply.
    pub(crate) n: u64,
    /// The bytes that the reply has beside that.
    pub(crate) reply: usize,
}

impl Work {
    /// Asks for a reply that has no bytes beside its numbers.
    pub(crate) fn new(n: u64) -> Self {
        Self { n, reply: 0 }
    }
}

/// The reply to [`Work`].
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Done {
    pub(crate) n: u64,
    /// The number of the member.
    pub(crate) member: u32,
    pub(crate) payload: ByteBuf,
}

/// Each member has one. Its mailbox has room for one request of each of 4,096 callers.
#[derive(Actor)]
#[actor(urn = "worker", shared, mailbox = 8192)]
pub(crate) struct Worker {
    pub(crate) member: u32,
    /// The time that a request takes.
    pub(crate) pause: Duration,
}

#[handlers]
impl Worker {
    #[handler]
    async fn work(&mut self, message: Work) -> Done {
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        reply(&message, self.member)
    }
}

/// One of very many actors with a listed name.
#[derive(Actor)]
pub(crate) struct Customer;

#[handlers]
impl Customer {
    #[handler]
    fn work(&mut self, message: Work) -> Done {
        reply(&message, 0)
    }
}

fn reply(work: &Work, member: u32) -> Done {
    Done {
        n: work.n,
        member,
        payload: ByteBuf::from(vec![0x5a; work.reply]),
    }
}

/// A name of twenty letters.
pub(crate) fn customer(number: u64) -> String {
    format!("customer/{number:011}")
}

/// The config of a member or a client.
pub(crate) fn config(port: u16, is_plain: bool) -> Result<Config, Problem> {
    let config = Config::new(&format!("redis://127.0.0.1:{port}"))?;
    Ok(if is_plain { config } else { config.fleet() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_twenty_letters() {
        assert_eq!(customer(0).len(), 20);
        assert_eq!(customer(99_999).len(), 20);
    }
}
