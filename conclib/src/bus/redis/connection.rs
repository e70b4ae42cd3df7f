//! A connection to Redis that is made again after it was lost.
//!
//! Each TCP connection is a link of its own: commands that were given to a link end with it, and are
//! never sent again by its successor, since their callers were told otherwise. While there is no
//! link, commands are refused.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::redis::Unreachable;
use crate::bus::redis::endpoint::{ConnectionRole, Departure, DepartureCause, Endpoint, departed};
use crate::bus::transport::TransportError;

/// Pause between attempts to renew a connection that works.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// A connection that lived this long resets the backoff.
const STEADY: Duration = Duration::from_secs(5);

/// One TCP connection, from its opening to its end. Dropping it ends its links.
pub(super) trait Session: Sized + Send + 'static {
    /// The part that tasks give commands to.
    type Link: Clone + Send + Sync + 'static;

    /// Connects, logs in, and prepares the connection for its role; returns the problem in words on
    /// failure.
    fn open(
        endpoint: &Arc<Endpoint>,
        role: &ConnectionRole,
    ) -> impl Future<Output = Result<Self, String>> + Send;

    fn link(&self) -> Self::Link;

    /// Runs until the connection is lost; returns the reason.
    fn run(&mut self) -> impl Future<Output = String> + Send;
}

/// A connection that is made again after it was lost; closed when it is dropped.
pub(super) struct Connection<S: Session> {
    /// The current link.
    current: watch::Receiver<Option<S::Link>>,
    /// Ends the link and the task that replaces it.
    closing: CancellationToken,
}

impl<S: Session> Connection<S> {
    /// Opens the connection; the first attempt must succeed, later ones are repeated until they do.
    pub(super) async fn open(
        endpoint: &Arc<Endpoint>,
        role: ConnectionRole,
    ) -> Result<Self, Unreachable> {
        let departures = endpoint.departures();
        // Boxed: its size would be that of every caller's future.
        let session = Box::pin(S::open(endpoint, &role)).await;
        let session = session.map_err(|reason| endpoint.unreachable(reason))?;
        // An earlier connection of this role may have been lost.
        endpoint.health.mark_connected(role.name());
        let (sender, current) = watch::channel(Some(session.link()));
        let closing = CancellationToken::new();
        let (kept, endpoint) = (closing.clone(), endpoint.clone());
        tokio::spawn(async move {
            let running = run_and_reconnect(&endpoint, &role, session, sender, departures);
            kept.run_until_cancelled(running).await;
        });
        Ok(Self { current, closing })
    }

    /// The current link; without one, no command was or will be executed.
    pub(super) fn link(&self) -> Result<S::Link, TransportError> {
        let problem = if self.closing.is_cancelled() {
            "the connection to Redis is closed"
        } else {
            match &*self.current.borrow() {
                Some(link) => return Ok(link.clone()),
                None => "there is no connection to Redis",
            }
        };
        Err(TransportError::NotDone(problem.to_owned()))
    }

    /// Ends the connection at once. A `QUIT` would wait for blocked commands.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

impl<S: Session> Drop for Connection<S> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs a session, and replaces it whenever it is lost.
async fn run_and_reconnect<S: Session>(
    endpoint: &Arc<Endpoint>,
    role: &ConnectionRole,
    mut session: S,
    current: watch::Sender<Option<S::Link>>,
    mut departures: watch::Receiver<Departure>,
) {
    let name = endpoint.connection_name(role);
    let mut attempt = 0;
    loop {
        let opened = Instant::now();
        let (why, departure) = tokio::select! {
            biased;
            why = run_and_renew(endpoint, role, &mut session, &current) => (why, None),
            departed = departed(&mut departures) => (departed.why, Some(departed.cause)),
        };
        let lost = Instant::now();
        current.send_replace(None);
        endpoint.health.mark_lost(role.name(), &why);
        drop(session);
        if departure.is_some() {
            tracing::debug!(connection = name, "left this Redis: connecting anew"); // logged for all
        } else {
            tracing::warn!(
                connection = name,
                why,
                "lost the connection to Redis: reconnecting"
            );
        }
        if opened.elapsed() > STEADY {
            attempt = 0;
        }
        session = loop {
            let pause = RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64());
            // One connection that is back shows that the others can be.
            drop(timeout(pause, endpoint.reached.notified()).await);
            attempt = attempt.saturating_add(1);
            departures.mark_unchanged();
            match Box::pin(S::open(endpoint, role)).await {
                Ok(session) => break session,
                Err(why) => {
                    tracing::debug!(
                        connection = name,
                        why,
                        "could not connect to Redis: trying again"
                    );
                }
            }
        };
        endpoint.reached.notify_waiters();
        endpoint.note_replaced(lost);
        current.send_replace(Some(session.link()));
        endpoint.health.mark_connected(role.name());
        if departure == Some(DepartureCause::NoActorSystem) {
            tracing::debug!(connection = name, "connected anew"); // nothing was out of order
        } else {
            tracing::info!(connection = name, "connected to Redis again");
        }
    }
}

/// Runs a session until it is lost; returns the reason. If another connection was lost and made again
/// meanwhile, it may lead to another server: a session that would hear no error of the former one is
/// renewed, the new one before the old one ends, so that no reply is lost.
async fn run_and_renew<S: Session>(
    endpoint: &Arc<Endpoint>,
    role: &ConnectionRole,
    session: &mut S,
    current: &watch::Sender<Option<S::Link>>,
) -> String {
    let mut replaced = endpoint.replaced();
    let mut opened = Instant::now();
    loop {
        let is_behind = |lost: &Option<Instant>| lost.is_some_and(|lost| lost >= opened);
        tokio::select! {
            biased;
            why = session.run() => return why,
            Ok(_) = replaced.wait_for(is_behind), if role.hears_no_error() => {}
        }
        let begun = Instant::now();
        tokio::select! {
            biased;
            why = session.run() => return why,
            renewed = Box::pin(S::open(endpoint, role)) => match renewed {
                Ok(renewed) => {
                    current.send_replace(Some(renewed.link()));
                    *session = renewed;
                    endpoint.health.mark_answering(role.name()); // the former one may have been slow
                    opened = begun;
                }
                Err(why) => {
                    let connection = endpoint.connection_name(role);
                    tracing::debug!(connection, why, "could not renew the connection: trying again");
                    tokio::select! {
                        biased;
                        why = session.run() => return why,
                        () = sleep(RENEWAL_PAUSE) => {}
                    }
                }
            },
        }
    }
}
