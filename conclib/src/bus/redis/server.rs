//! The actor system's end of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::{Resp3Frame, Value};
use parking_lot::Mutex;

use crate::bus::config::{Config, RedisAddress, Role};
use crate::bus::keys::Keys;
use crate::bus::link::health::Health;
use crate::bus::redis::backlog;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::dead_letters::RedisDeadLetters;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::fleet::RedisFleet;
use crate::bus::redis::known_epochs::KnownEpochs;
use crate::bus::redis::lease::{ACQUIRE, GIVE_UP, HEAD, LeaseOwner, RELEASE, RENEW, REWRITE};
use crate::bus::redis::library::{
    LibrarySession, eval, into_array, into_bytes, into_u64, unexpected,
};
use crate::bus::redis::pops::{PopKeys, Pops};
use crate::bus::redis::resp::{Driver, ReplyTimeout};
use crate::bus::redis::start_check::{self, ServerFacts};
use crate::bus::redis::stream::RedisConsumer;
use crate::bus::redis::{COMMAND, LEASE_COMMAND, Unreachable, lease};
use crate::bus::transport::fleet::FleetMap;
use crate::bus::transport::stream::{DeadLetterStore, StreamConsumer};
use crate::bus::transport::{
    Acquired, Backlog, Epoch, Frame, LeaseClaim, LeaseGrant, LeaseHolder, Lists, Popped,
    ServerNumber, ServerTime, ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;

/// Time after which the inbox of an epoch that is over expires if no owner of the lease deletes it.
const LEFTOVERS: Duration = Duration::from_secs(60);

/// The actor system's end of Redis.
pub(crate) struct RedisServer {
    keys: Keys,
    pops: Pops,
    /// The keys of the last pop, with their epoch.
    pop_keys: Mutex<Option<(Epoch, Arc<PopKeys>)>>,
    facts: ServerFacts,
    /// The connection for published replies.
    publish: Arc<Connection<Driver>>,
    /// The connection for the lease, the stream and the map of the fleet.
    commands: Arc<Connection<LibrarySession>>,
    endpoint: Arc<Endpoint>,
    /// Time for a script about the lease: a third of a short lease, so that another attempt has time.
    script_timeout: Duration,
    /// Identifies this server where leases are taken, with the number of its attempts.
    owner: LeaseOwner,
    attempts: AtomicU32,
    /// The age of this server, which Redis has told it at its first attempt; 0 before.
    age: AtomicU64,
    /// Epochs before the current one: late clients may still send to their inboxes.
    known: KnownEpochs,
}

impl RedisServer {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
        health: &Arc<Health>,
    ) -> Result<Self, Unreachable> {
        let endpoint = Arc::new(Endpoint::new(address, config, health.clone()));
        let (pops, publish, commands) = tokio::try_join!(
            Connection::open(&endpoint, ConnectionRole::Pops),
            Connection::open(&endpoint, ConnectionRole::Publish),
            Connection::open(&endpoint, ConnectionRole::Commands),
        )?;
        let (pops, keys) = (Pops::new(pops), config.keys());
        let proven = async {
            let publish = publish.link()?;
            start_check::prove_serving(&pops, &publish, &keys).await?;
            start_check::try_operator_lists(&pops, &keys).await?;
            start_check::read_facts(&publish).await
        };
        let facts = proven.await.map_err(|error| {
            let reason = start_check::explained(&error, &endpoint, config, Role::Proxy);
            endpoint.unreachable(reason)
        })?;
        Ok(Self {
            keys,
            pops,
            pop_keys: Mutex::default(),
            facts,
            publish: Arc::new(publish),
            commands: Arc::new(commands),
            endpoint,
            script_timeout: LEASE_COMMAND.min(config.lease_duration / 3),
            owner: LeaseOwner::random(),
            attempts: AtomicU32::new(0),
            age: AtomicU64::new(0),
            known: KnownEpochs::default(),
        })
    }

    async fn script(
        &self,
        script: &'static str,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        // A reply that does not come ends the link: the next attempt has to come through before the
        // lease runs out.
        let link = self.commands.link()?;
        let arguments = eval(script, keys, arguments);
        link.request("EVAL", arguments, self.script_timeout).await
    }

    /// Runs a script about the lease of this epoch, with further keys and arguments.
    async fn if_owned(
        &self,
        script: &'static str,
        epoch: Epoch,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let own = [epoch.0.to_string().into(), self.owner.hex().into()];
        let keys = [self.keys.lease()].into_iter().chain(keys).collect();
        let arguments = own.into_iter().chain(arguments).collect();
        self.script(script, keys, arguments).await
    }

    /// Writes the lease of this epoch anew, and appends a frame to its inbox; false if this server does not
    /// own it.
    async fn rewrite(
        &self,
        epoch: Epoch,
        claim: &LeaseClaim,
        frame: Option<Bytes>,
    ) -> Result<bool, TransportError> {
        let age = self.age.load(Ordering::Relaxed);
        // The attempt that was granted: a later one takes the lease over.
        let attempt = self.attempts.load(Ordering::Relaxed).saturating_sub(1);
        let tail =
            lease::tail(claim, self.owner, age, attempt).map_err(|error| not_encoded(&error))?;
        let mut rest = vec![bytes(HEAD), bytes(&tail), duration(claim.length)];
        let inbox = frame.as_ref().map(|_| self.keys.inbox(epoch));
        rest.extend(frame.map(Value::Bytes));
        let written = self.if_owned(REWRITE, epoch, inbox.into_iter().collect(), rest);
        Ok(into_u64(&written.await?) == Some(1))
    }

    /// Deletes the inboxes of former epochs, whose requests no system will take. With renewals and the
    /// release, and not when the lease is taken: the former owner may have released it just now, and
    /// be answering the requests that are left.
    async fn delete_former_inboxes(&self, current: Epoch) {
        let epochs = self.known.former(current);
        if epochs.is_empty() {
            return;
        }
        let keys = epochs.into_iter().flat_map(|epoch| self.leftovers(epoch));
        let keys = keys.map(Value::from).collect();
        let deleted = async {
            let link = self.commands.link()?;
            link.request("UNLINK", keys, LEASE_COMMAND).await
        };
        if let Err(error) = deleted.await {
            tracing::debug!(%error, "could not delete the inboxes of former epochs; trying again with the next renewal");
        }
    }

    /// The lists that an epoch that is over may have left, as far as this user may change them.
    fn leftovers(&self, epoch: Epoch) -> impl Iterator<Item = String> + use<> {
        let count = if self.pops.include_operators() { 3 } else { 1 };
        self.keys.lists(epoch).into_iter().take(count)
    }

    /// The keys of the pops of an epoch. Made once per epoch, not for each pop.
    fn keys_of_pop(&self, epoch: Epoch) -> Arc<PopKeys> {
        let mut last = self.pop_keys.lock();
        match &*last {
            Some((of, keys)) if *of == epoch => keys.clone(),
            _ => {
                let keys = Arc::new(PopKeys::new(&self.keys, epoch));
                *last = Some((epoch, keys.clone()));
                keys
            }
        }
    }

    /// Lets the inboxes of former epochs expire, in case this system ends before its first renewal.
    async fn expire_former_inboxes(&self, current: Epoch) {
        let former = self.known.former(current).into_iter();
        let keys = former.flat_map(|epoch| self.leftovers(epoch));
        let commands = keys.map(|key| ("PEXPIRE", vec![key.into(), duration(LEFTOVERS)]));
        let commands: Vec<_> = commands.collect();
        if commands.is_empty() {
            return;
        }
        let limited = async {
            let link = self.commands.link()?;
            link.pipeline(commands, LEASE_COMMAND).await
        };
        if let Err(error) = limited.await {
            tracing::debug!(%error, "could not limit the inboxes of former epochs; the first renewal deletes them");
        }
    }

    /// Reads the reply to [`ACQUIRE`], and adds its epochs to the known ones.
    fn acquired(
        &self,
        reply: Resp3Frame,
        server: ServerNumber,
    ) -> Result<Acquired, TransportError> {
        let mut reply = into_array(reply).ok_or_else(unexpected)?;
        let age = reply.pop().as_ref().and_then(into_u64);
        self.age
            .store(age.ok_or_else(unexpected)?, Ordering::Relaxed);
        if let [Resp3Frame::Number { data: 3, .. }, _] = &reply[..] {
            return Ok(Acquired::Lost);
        }
        if let [
            Resp3Frame::Number { data, .. },
            Resp3Frame::BlobString { data: lease, .. },
        ] = &reply[..]
        {
            let (lease, instance) = LeaseHolder::decode(lease).map_err(|error| {
                TransportError::NotDone(format!("the lease that is held cannot be read: {error}"))
            })?;
            self.known.add(vec![lease.epoch]);
            return Ok(Acquired::Held(LeaseHolder {
                lease,
                instance,
                is_successor: *data == 2,
            }));
        }
        let [one, epoch, now, last] = &reply[..] else {
            return Err(unexpected());
        };
        let numbers = [one, epoch, now].map(into_u64);
        let ([Some(1), Some(epoch), Some(now)], Some(last)) = (numbers, into_bytes(last.clone()))
        else {
            return Err(unexpected());
        };
        let epoch = Epoch(epoch);
        let last = lease::read_epochs(&String::from_utf8_lossy(&last), self.owner);
        self.known.add(last.iter().map(|term| term.epoch).collect());
        self.known.add(vec![epoch]);
        Ok(Acquired::Granted(LeaseGrant {
            epoch,
            now: ServerTime(now),
            server,
            former: last.first().copied(),
        }))
    }
}

#[async_trait]
impl ServerTransport for RedisServer {
    async fn prepare(&self) -> Result<(), TransportError> {
        // A connection that is dead, or may not pop, is not noticed while there are no pops.
        if self.pops.are_under_way() {
            return Ok(());
        }
        let publish = self.publish.link()?;
        start_check::prove_serving(&self.pops, &publish, &self.keys).await
    }

    async fn acquire(&self, claim: &LeaseClaim) -> Result<Acquired, TransportError> {
        // Before the lease is taken: if the server changes from now on, requests are not executed.
        let server = self.pops.server()?;
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let middle = lease::middle(claim, self.owner).map_err(|error| not_encoded(&error))?;
        let age = match self.age.load(Ordering::Relaxed) {
            0 => claim.age.unwrap_or_default().0,
            age => age,
        };
        let keys = vec![self.keys.lease(), self.keys.last_epoch()];
        let arguments = vec![
            bytes(HEAD),
            bytes(&middle),
            self.owner.hex().into(),
            claim.instance.as_str().into(),
            age.to_string().into(),
            attempt.to_string().into(),
            duration(claim.length),
            claim.before.unwrap_or_default().0.to_string().into(),
        ];
        let acquired = self.acquired(self.script(ACQUIRE, keys, arguments).await?, server)?;
        if let Acquired::Granted(grant) = &acquired {
            self.expire_former_inboxes(grant.epoch).await;
        }
        Ok(acquired)
    }

    async fn open(&self, epoch: Epoch, claim: &LeaseClaim) -> Result<bool, TransportError> {
        self.rewrite(epoch, claim, None).await
    }

    async fn renew(
        &self,
        epoch: Epoch,
        length: Duration,
    ) -> Result<Option<ServerTime>, TransportError> {
        let renewed = self.if_owned(RENEW, epoch, Vec::new(), vec![duration(length)]);
        let (renewed, ()) = tokio::join!(renewed, self.delete_former_inboxes(epoch));
        match renewed? {
            Resp3Frame::Null => Ok(None),
            time => into_u64(&time)
                .map(ServerTime)
                .map(Some)
                .ok_or_else(unexpected),
        }
    }

    async fn stop_serving(
        &self,
        epoch: Epoch,
        claim: &LeaseClaim,
        wake: Bytes,
    ) -> Result<bool, TransportError> {
        self.rewrite(epoch, claim, Some(wake)).await
    }

    async fn release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        let keys = vec![self.keys.last_epoch()];
        let released = self.if_owned(RELEASE, epoch, keys, Vec::new());
        let (released, ()) = tokio::join!(released, self.delete_former_inboxes(epoch));
        Ok(into_u64(&released?) == Some(1))
    }

    async fn give_up(&self, epoch: Epoch) -> Result<bool, TransportError> {
        let given_up = self.if_owned(GIVE_UP, epoch, Vec::new(), Vec::new());
        Ok(into_u64(&given_up.await?) == Some(1))
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        let link = self.publish.link()?;
        let inbox = self.keys.inbox(epoch);
        let replies = link.exchange(ReplyTimeout::at_once(COMMAND), |commands| {
            commands.begin("RPUSH", 2).text(&inbox).bytes(&wake);
            commands.begin("PEXPIRE", 2).text(&inbox);
            commands.text(&LEFTOVERS.as_millis().to_string());
        });
        for reply in replies.await? {
            reply.accepted()?;
        }
        Ok(())
    }

    async fn pop(
        &self,
        epoch: Epoch,
        lists: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let keys = self.keys_of_pop(epoch);
        self.pops.pop(&keys, lists, count, block).await
    }

    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError> {
        let link = self.publish.link()?;
        let channel = self.keys.reply(client);
        let mut replies = link
            .exchange(ReplyTimeout::at_once(COMMAND), |commands| {
                commands.begin("PUBLISH", 2).text(&channel).frame(&frame);
            })
            .await?;
        let receivers = replies.pop().ok_or_else(|| link.unexpected())?.accepted()?;
        receivers
            .as_u64()
            .map(Some)
            .ok_or_else(|| link.unexpected())
    }

    async fn owner(&self) -> Result<Option<Epoch>, TransportError> {
        let link = self.publish.link()?;
        let mut replies = link
            .exchange(ReplyTimeout::at_once(COMMAND), |commands| {
                commands.begin("GET", 1).text(&self.keys.lease());
            })
            .await?;
        let lease = lease::read(replies.pop().ok_or_else(|| link.unexpected())?)?;
        Ok(lease.map(|lease| lease.epoch))
    }

    async fn backlog(&self, epoch: Epoch) -> Result<Backlog, TransportError> {
        let keys = vec![
            self.keys.inbox(epoch),
            self.keys.durable(),
            self.keys.delayed(),
            self.keys.dead_letters(),
        ];
        let reply = self.script(backlog::READ, keys, Vec::new()).await?;
        backlog::read(reply).ok_or_else(unexpected)
    }

    async fn consumer(&self, instance: &str) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        let reads = Connection::open(&self.endpoint, ConnectionRole::DurableReads).await;
        let reads = reads.map_err(|error| TransportError::NotDone(error.to_string()))?;
        Ok(Arc::new(RedisConsumer::new(
            self.keys.clone(),
            instance,
            (reads, self.commands.clone()),
            self.facts,
        )))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::new(RedisDeadLetters::over(
            self.keys.clone(),
            self.commands.clone(),
        ))
    }

    fn fleet(&self) -> Arc<dyn FleetMap> {
        let (keys, commands) = (self.keys.clone(), self.commands.clone());
        Arc::new(RedisFleet::over(keys, commands, self.publish.clone()))
    }

    async fn close(&self) {
        self.pops.close();
        self.publish.close();
        self.commands.close();
    }
}

fn duration(duration: Duration) -> Value {
    duration.as_millis().to_string().into()
}

fn not_encoded(error: &rmp_serde::encode::Error) -> TransportError {
    TransportError::NotDone(error.to_string())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(bytes))
}
