//! One connection, from its opening to its end, as the tasks that give it commands see it.
//!
//! The task that has a command writes it to the socket, which is quicker than to wake another one.
//! While earlier commands wait for their replies, the link's [driver](super::driver) writes instead: so
//! commands that are given together are written together. The driver also writes what the socket did
//! not take at once, reads the replies, and completes the exchanges in their order.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::bus::redis::resp::commands::{CommandBuffer, Commands};
use crate::bus::redis::resp::reply::RedisReply;
use crate::bus::redis::resp::socket::reason;
use crate::bus::transport::{ServerNumber, TransportError};

/// Number of exchanges that may wait for their replies. The limits of the modules above keep far
/// below it.
const MAX_WAITING: usize = 4096;

/// A connection to which commands are given.
#[derive(Clone)]
pub(in crate::bus::redis) struct Link {
    state: Arc<Mutex<LinkState>>,
    /// The server that it leads to, if it is for pops.
    server: ServerNumber,
}

/// The state that a link's users share with its driver.
pub(super) struct LinkState {
    /// The socket; closed when the link has ended.
    writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    output: CommandBuffer,
    /// The driver is to write, or waits until the socket takes more.
    driver_writes: bool,
    /// Exchanges without all of their replies, the oldest first.
    waiting: VecDeque<PendingExchange>,
    /// The moment since which the oldest exchange waits for Redis alone.
    waiting_since: Instant,
    /// Wakes the driver; present from its first poll on.
    driver: Option<Waker>,
    /// The reason why the link has ended, or is to end.
    ended: Option<String>,
}

/// Commands that were sent together, and wait for their replies.
struct PendingExchange {
    count: usize,
    replies: Vec<RedisReply>,
    timeout: ReplyTimeout,
    /// Takes the replies; none for a heartbeat.
    sender: Option<oneshot::Sender<Vec<RedisReply>>>,
}

/// The time that an exchange may take, without the exchanges before it.
#[derive(Debug, Clone, Copy)]
pub(in crate::bus::redis) struct ReplyTimeout {
    /// Redis may wait that long before it replies.
    pub(in crate::bus::redis) block: Duration,
    /// Beyond that, the link is given up.
    pub(in crate::bus::redis) grace: Duration,
}

impl ReplyTimeout {
    /// That of commands that Redis answers at once.
    pub(in crate::bus::redis) const fn at_once(grace: Duration) -> Self {
        let block = Duration::ZERO;
        Self { block, grace }
    }
}

/// Replies that have come in, for the exchanges that they complete.
pub(super) type Completed = Vec<(oneshot::Sender<Vec<RedisReply>>, Vec<RedisReply>)>;

impl Link {
    pub(super) fn new(writer: Box<dyn AsyncWrite + Send + Unpin>, server: ServerNumber) -> Self {
        let state = LinkState {
            writer: Some(writer),
            output: CommandBuffer::default(),
            driver_writes: false,
            waiting: VecDeque::new(),
            waiting_since: Instant::now(),
            driver: None,
            ended: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            server,
        }
    }

    /// The server that it leads to, if it is for pops.
    pub(in crate::bus::redis) fn server(&self) -> ServerNumber {
        self.server
    }

    /// Sends commands together, in the first poll, and waits for a reply to each. An error reply is
    /// among the replies.
    ///
    /// # Errors
    ///
    /// `NotDone` if the link has ended before, `Unknown` if it ends meanwhile.
    pub(in crate::bus::redis) async fn exchange(
        &self,
        timeout: ReplyTimeout,
        encode: impl FnOnce(&mut Commands<'_>),
    ) -> Result<Vec<RedisReply>, TransportError> {
        let (sender, replies) = oneshot::channel();
        self.state.lock().send(timeout, Some(sender), encode)?;
        let replies = replies.await;
        replies.map_err(|_| TransportError::Unknown(self.state.lock().lost()))
    }

    /// True if a reply is yet to come.
    pub(in crate::bus::redis) fn is_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Ends the link: another one is made.
    pub(in crate::bus::redis) fn give_up(&self, why: &str) {
        self.state.lock().give_up(why);
    }

    /// Ends the link after a reply of a shape that no Redis sends; returns the error.
    pub(in crate::bus::redis) fn unexpected(&self) -> TransportError {
        let why = "Redis sent an unexpected reply";
        self.give_up(why);
        TransportError::Unknown(why.to_owned())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock()
    }
}

impl LinkState {
    pub(super) fn send(
        &mut self,
        timeout: ReplyTimeout,
        sender: Option<oneshot::Sender<Vec<RedisReply>>>,
        encode: impl FnOnce(&mut Commands<'_>),
    ) -> Result<(), TransportError> {
        if let Some(why) = &self.ended {
            return Err(TransportError::NotDone(format!(
                "the connection to Redis was lost: {why}"
            )));
        }
        if self.waiting.len() >= MAX_WAITING {
            let problem = "too many commands wait for Redis";
            return Err(TransportError::NotDone(problem.to_owned()));
        }
        let mut commands = Commands::new(&mut self.output);
        encode(&mut commands);
        let count = commands.count();
        debug_assert!(count > 0, "an exchange without a command never ends");
        let is_alone = self.waiting.is_empty();
        if is_alone {
            self.waiting_since = Instant::now();
        }
        self.waiting.push_back(PendingExchange {
            count,
            replies: Vec::with_capacity(count),
            timeout,
            sender,
        });
        if is_alone && !self.driver_writes {
            self.flush();
        } else if !mem::replace(&mut self.driver_writes, true)
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
        Ok(())
    }

    /// Writes what the socket takes; the driver is woken when it takes more.
    fn flush(&mut self) {
        let (Some(driver), Some(socket)) = (&self.driver, &mut self.writer) else {
            return; // the driver begins with this
        };
        let mut cx = Context::from_waker(driver);
        match self.output.poll_write(Pin::new(&mut **socket), &mut cx) {
            Poll::Ready(Ok(())) => self.driver_writes = false,
            Poll::Pending => self.driver_writes = true,
            Poll::Ready(Err(error)) => self.give_up(&reason(&error)),
        }
    }

    /// Registers the driver's waker, and writes what is left; returns the reason if the link is to end.
    pub(super) fn drive(&mut self, driver: &Waker) -> Option<String> {
        let known = self.driver.as_ref();
        let is_new = known.is_none_or(|known| !known.will_wake(driver));
        if is_new {
            self.driver = Some(driver.clone());
        }
        if is_new || self.driver_writes {
            self.flush();
        }
        self.ended.clone()
    }

    /// Assigns replies to their exchanges; false if a reply belongs to none.
    pub(super) fn assign(
        &mut self,
        replies: impl Iterator<Item = RedisReply>,
        completed: &mut Completed,
    ) -> bool {
        for reply in replies {
            let Some(oldest) = self.waiting.front_mut() else {
                return false;
            };
            oldest.replies.push(reply);
            if oldest.replies.len() == oldest.count
                && let Some(PendingExchange {
                    sender, replies, ..
                }) = self.waiting.pop_front()
            {
                self.waiting_since = Instant::now();
                completed.extend(sender.map(|sender| (sender, replies)));
            }
        }
        true
    }

    /// The timeout of the oldest exchange, if any waits.
    pub(super) fn timeout(&self) -> Option<ReplyTimeout> {
        self.waiting.front().map(|oldest| oldest.timeout)
    }

    pub(super) fn give_up(&mut self, why: &str) {
        if self.ended.is_none() {
            self.ended = Some(why.to_owned());
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
    }

    /// The moment since which the oldest exchange waits for Redis alone.
    pub(super) fn waiting_since(&self) -> Instant {
        self.waiting_since
    }

    /// The time since the last exchange, if none waits.
    pub(super) fn idle_since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.waiting_since)
    }

    /// Sends a heartbeat.
    pub(super) fn ping(&mut self, timeout: Duration) {
        let ping = |commands: &mut Commands<'_>| {
            commands.begin("PING", 0);
        };
        // Fails only if the link is about to end.
        drop(self.send(ReplyTimeout::at_once(timeout), None, ping));
    }

    /// Ends the exchanges that wait.
    pub(super) fn end(&mut self, why: &str) -> impl Drop + use<> {
        self.give_up(why);
        self.driver = None;
        self.writer = None;
        mem::take(&mut self.waiting)
    }

    fn lost(&self) -> String {
        let why = self.ended.as_deref().unwrap_or("it ended");
        format!("the connection to Redis was lost: {why}")
    }
}
