//! The driver of a link: reads replies, writes what the socket did not take at once, and notices when
//! Redis no longer answers.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::io::poll_read_buf;

use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::resp::link::{Completed, Link};
use crate::bus::redis::resp::reply::{Decoder, RedisReply};
use crate::bus::redis::resp::socket::reason;

/// Interval at which the driver looks for replies that are late.
const CHECK: Duration = Duration::from_secs(1);

/// Time without a command after which a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Timeout of a heartbeat. A Redis that is paused for 3 s keeps its connections.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(4);

/// Time that a reply may take whose bytes keep coming in.
const MAX_REPLY_TIME: Duration = Duration::from_secs(120);

/// A reply that is late by this time shows in the state of the connection.
const SLOW: Duration = Duration::from_secs(2);

/// Drives one link. Dropping it ends the link.
pub(in crate::bus::redis) struct Driver {
    link: Link,
    endpoint: Arc<Endpoint>,
    role: ConnectionRole,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    decoder: Decoder,
    /// Replies of one read, and the exchanges that they complete.
    replies: Vec<RedisReply>,
    completed: Completed,
    /// Bytes came in since the last check …
    has_read: bool,
    /// … and before it.
    last_read: Instant,
    /// The oldest reply is late, and the state of the connection says so.
    is_slow: bool,
    checks: Interval,
}

impl Driver {
    pub(super) fn new(
        link: Link,
        endpoint: &Arc<Endpoint>,
        role: &ConnectionRole,
        reader: Box<dyn AsyncRead + Send + Unpin>,
        decoder: Decoder,
    ) -> Self {
        let now = Instant::now();
        let mut checks = tokio::time::interval_at(now + CHECK, CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            link,
            endpoint: endpoint.clone(),
            role: role.clone(),
            reader,
            decoder,
            replies: Vec::new(),
            completed: Vec::new(),
            has_read: false,
            last_read: now,
            is_slow: false,
            checks,
        }
    }

    pub(super) fn link(&self) -> Link {
        self.link.clone()
    }

    /// Runs until the link ends; returns the reason.
    pub(super) async fn run(&mut self) -> String {
        // Replies that came with the last one of logging in.
        let why = match self.take_replies() {
            Ok(()) => poll_fn(|cx| self.poll(cx)).await,
            Err(why) => why,
        };
        self.end(&why);
        why
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        if let Some(why) = self.link.lock().drive(cx.waker()) {
            return Poll::Ready(why);
        }
        if let Poll::Ready(why) = self.poll_replies(cx) {
            return Poll::Ready(why);
        }
        while self.checks.poll_tick(cx).is_ready() {
            if let Err(why) = self.check() {
                return Poll::Ready(why);
            }
        }
        Poll::Pending
    }

    /// Reads until the socket has no more; ready with the reason if the link is to end.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            let reader = Pin::new(&mut self.reader);
            match ready!(poll_read_buf(reader, cx, self.decoder.buffer().space())) {
                Ok(0) => return Poll::Ready("Redis closed it".to_owned()),
                Ok(bytes) => {
                    self.decoder.buffer().note_read(bytes);
                    self.has_read = true;
                }
                Err(error) => return Poll::Ready(reason(&error)),
            }
            if let Err(why) = self.take_replies() {
                return Poll::Ready(why);
            }
        }
    }

    /// Hands the replies that have come in to those who wait for them.
    fn take_replies(&mut self) -> Result<(), String> {
        let outcome = loop {
            match self.decoder.next() {
                Ok(Some(reply)) => self.replies.extend(self.publish(reply)),
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed.to_string()),
            }
        };
        if self.replies.is_empty() {
            return outcome;
        }
        for reply in &self.replies {
            if let RedisReply::Error(line) = reply {
                self.endpoint.note_error(line);
            }
        }
        let are_expected = {
            let mut state = self.link.lock();
            state.assign(self.replies.drain(..), &mut self.completed)
        };
        // Outside the lock: a task that is woken may send again at once.
        for (sender, replies) in self.completed.drain(..) {
            drop(sender.send(replies)); // fails if it was given up
        }
        if self.is_slow {
            self.is_slow = false;
            self.endpoint.health.mark_answering(self.role.name());
        }
        if are_expected {
            outcome
        } else {
            Err("Redis sent a reply to no command".to_owned())
        }
    }

    /// Passes on what was published; returns other replies.
    fn publish(&self, reply: RedisReply) -> Option<RedisReply> {
        match (&self.role, reply) {
            (
                ConnectionRole::Replies {
                    map_changes, sink, ..
                },
                RedisReply::Array(mut parts),
            ) if matches!(parts.first(), Some(RedisReply::Bulk(kind)) if kind == "message") => {
                if let Some(map_changes) = map_changes
                    && matches!(parts.get(1), Some(RedisReply::Bulk(channel)) if channel == map_changes)
                {
                    sink.map_changed();
                } else if let Some(RedisReply::Bulk(contents)) = parts.pop() {
                    sink.receive(contents);
                }
                None
            }
            (_, reply) => Some(reply),
        }
    }

    /// Looks for a late reply, once a second; fails if the link is to be given up.
    fn check(&mut self) -> Result<(), String> {
        let now = Instant::now();
        if mem::take(&mut self.has_read) {
            self.last_read = now;
        } else {
            self.decoder.buffer().release_memory();
        }
        let mut state = self.link.lock();
        let Some(timeout) = state.timeout() else {
            if self.role.has_heartbeat() && state.idle_since(now) >= HEARTBEAT {
                state.ping(HEARTBEAT_TIMEOUT);
            }
            return Ok(());
        };
        // A long reply shows that Redis answers.
        let began = state.waiting_since();
        let since = began.max(self.last_read);
        drop(state);
        let late = now.saturating_duration_since(since + timeout.block);
        if late >= timeout.grace {
            return Err(format!("Redis has not answered for {late:.0?}"));
        }
        if now >= began + timeout.block + MAX_REPLY_TIME {
            return Err(format!("a reply of Redis has taken {MAX_REPLY_TIME:?}"));
        }
        if late >= SLOW && !self.is_slow {
            self.is_slow = true;
            let why = format!("Redis has not answered for {late:.0?}");
            self.endpoint.health.mark_slow(self.role.name(), &why);
        }
        Ok(())
    }

    fn end(&mut self, why: &str) {
        // Outside the lock: this wakes tasks.
        let waiting = self.link.lock().end(why);
        drop(waiting);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end("it was closed");
    }
}
