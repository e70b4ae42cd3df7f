//! An operator's end of Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::bus::config::{Config, RedisAddress, Role};
use crate::bus::keys::{Keys, Right};
use crate::bus::link::health::Health;
use crate::bus::redis::client::read_time;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::fleet::MapReader;
use crate::bus::redis::resp::{Driver, RedisReply, ReplyTimeout};
use crate::bus::redis::{COMMAND, Unreachable, lease, start_check};
use crate::bus::transport::fleet::Members;
use crate::bus::transport::{
    Epoch, Frame, LeaseRecord, OperatorTransport, ReplySink, ServerTime, TransportError,
};
use crate::reply::remote::ClientId;

/// Time after which a list of requests expires that no process takes.
const LEFTOVERS: Duration = Duration::from_secs(60);

const TIMEOUT: ReplyTimeout = ReplyTimeout::at_once(COMMAND);

/// An operator's end of Redis.
pub(crate) struct RedisOperator {
    map: MapReader,
    requests: Connection<Driver>,
    /// The subscription; its payloads go straight to the sink.
    replies: Connection<Driver>,
}

impl RedisOperator {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
    ) -> Result<Self, Unreachable> {
        let keys = config.keys();
        let subscription = ConnectionRole::Replies {
            channel: keys.reply(client),
            map_changes: None,
            sink: replies.clone(),
        };
        let endpoint = Arc::new(Endpoint::new(address, config, Arc::<Health>::default()));
        let (requests, subscribed) = tokio::try_join!(
            Connection::open(&endpoint, ConnectionRole::Commands),
            Connection::open(&endpoint, subscription),
        )?;
        let proven = async {
            let link = requests.link()?;
            start_check::prove_inspecting(&link, &keys).await?;
            if config.is_in_fleet() {
                start_check::prove_reading_members(&link, &keys).await?;
            }
            Ok(())
        };
        proven.await.map_err(|error| {
            let reason = start_check::explained(&error, &endpoint, config, Role::Observer);
            endpoint.unreachable(reason)
        })?;
        let sink = Arc::downgrade(&replies);
        let report = move |problem: &dyn std::fmt::Display| {
            if let Some(sink) = sink.upgrade() {
                sink.unreadable_member(problem);
            }
        };
        Ok(Self {
            map: MapReader::new(keys, Box::new(report)),
            requests,
            replies: subscribed,
        })
    }
}

#[async_trait]
impl OperatorTransport for RedisOperator {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        let link = self.requests.link()?;
        let replies = link.exchange(TIMEOUT, |commands| {
            commands.begin("GET", 1).text(&node.lease());
            commands.begin("TIME", 0);
        });
        let Ok([lease, time]) = <[RedisReply; 2]>::try_from(replies.await?) else {
            return Err(link.unexpected());
        };
        let lease = lease::read(lease)?.and_then(LeaseRecord::serving);
        Ok((lease, read_time(&link, time)?))
    }

    async fn members(&self) -> Result<Members, TransportError> {
        self.map.members(&self.requests.link()?).await
    }

    async fn send(
        &self,
        node: &Keys,
        epoch: Epoch,
        right: Right,
        frames: Vec<Frame>,
    ) -> Result<Option<LeaseRecord>, TransportError> {
        // Without a subscription no answer could come in.
        self.replies.link()?;
        let link = self.requests.link()?;
        let list = node.operator_list(right, epoch);
        let replies = link.exchange(TIMEOUT, |commands| {
            commands.begin("GET", 1).text(&node.lease());
            commands.begin("RPUSH", 1 + frames.len()).text(&list);
            for frame in &frames {
                commands.frame(frame);
            }
            commands.begin("PEXPIRE", 2).text(&list);
            commands.text(&LEFTOVERS.as_millis().to_string());
        });
        let Ok([lease, length, expiry]) = <[RedisReply; 3]>::try_from(replies.await?) else {
            return Err(link.unexpected());
        };
        length.accepted()?;
        if let Err(error) = expiry.accepted() {
            tracing::debug!(%error, "a list of requests does not expire: the next owner of the lease deletes it");
        }
        Ok(lease::read(lease)?.and_then(LeaseRecord::serving))
    }

    async fn close(&self) {
        self.requests.close();
        self.replies.close();
    }
}
