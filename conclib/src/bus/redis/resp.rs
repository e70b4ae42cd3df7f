//! Links to Redis, for requests, pops and replies: the commands whose speed counts.
//!
//! - [`read_buffer`]: the memory of what was read, [`reply`]: decodes replies, [`commands`]: encodes commands
//! - [`socket`], [`login`]: a connection until it can be used
//! - [`link`]: the end that tasks give commands to, [`driver`]: the task behind it
//!
//! Streams and scripts go through a [library](crate::bus::redis::library). Its machinery around each
//! command costs more than everything else on the way of a single request: see `docs/decisions.md`.

use std::sync::Arc;

use crate::bus::redis::connection::Session;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};

pub(super) use commands::Commands;
pub(super) use driver::Driver;
pub(super) use link::{Link, ReplyTimeout};
pub(super) use login::query;
pub(super) use reply::RedisReply;

mod commands;
mod driver;
mod link;
mod login;
mod read_buffer;
mod reply;
mod socket;

impl Session for Driver {
    type Link = Link;

    async fn open(endpoint: &Arc<Endpoint>, role: &ConnectionRole) -> Result<Self, String> {
        login::open(endpoint, role).await
    }

    fn link(&self) -> Link {
        self.link()
    }

    async fn run(&mut self) -> String {
        self.run().await
    }
}
