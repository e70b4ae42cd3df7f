//! The end of those who inspect and operate processes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::bus::config::{Config, ConfigError, check_name};
use crate::bus::inspect::message::{
    Action, ActionOutcome, ActionRequest, ActorDetails, ActorQuery, Answer, Query, Refusal,
    VERSION, Versioned,
};
use crate::bus::keys::Keys;
use crate::bus::open::{self, ConnectError};
use crate::bus::protocol::{Kind, Request};
use crate::bus::transport::fleet::MemberState;
use crate::bus::transport::{Epoch, Frame, OperatorTransport, Right, ServerTime, TransportError};
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered};
use crate::message::{decode, encode};
use crate::reply::remote::{ClientId, Origin};
use crate::urn::Urn;

use answers::{AnswerWait, PendingAnswers};
pub use fleet::{ActorOf, FleetActors, FromMember};
use leases::KnownLeases;

mod answers;
mod fleet;
mod leases;

/// The most requests of one inspector that are under way: further ones wait for their turn.
const MAX_IN_FLIGHT: usize = 16;

/// The most tries of a request to a node whose lease term changes meanwhile.
const MAX_TERMS: usize = 3;

/// Inspects actor processes, and acts on those that allow it.
///
/// Works with every program of the same config: it needs no type of an actor or message. Cheap to clone. Over Redis, its
/// user has the rules of [`Role::Observer`](crate::bus::Role::Observer) or
/// [`Role::Operator`](crate::bus::Role::Operator), or may do everything.
///
/// ```
/// use conclib::inspect::{Action, Audit, InspectError, Inspector, StatusQuery};
/// use conclib::prelude::*;
///
/// # #[derive(Actor)]
/// # #[actor(urn = "worker")]
/// # struct Worker;
/// # #[handlers]
/// # impl Worker {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::memory().node("eu-1");
/// let system = ActorSystem::new();
/// system.spawn(Worker).await?;
/// start_proxy(&system, &config.clone().allow_admin()).await?;
///
/// let inspector = Inspector::connect(&config).await?;
/// let status = inspector.ask("eu-1", &StatusQuery::default()).await?;
/// assert_eq!((status.actors, status.allows_admin), (1, true));
///
/// let stop = Action::Stop { urn: "worker".parse()? };
/// let audit = Audit::new("ann", "it holds a file that is to be moved");
/// let outcome = inspector.act("eu-1", stop, &audit).await?;
/// assert!(outcome.is_accepted(), "{outcome}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Inspector {
    shared: Arc<InspectorShared>,
    timeout: Duration,
}

/// The state that the clones of an inspector share; dropping the last one ends the connections.
struct InspectorShared {
    transport: Arc<dyn OperatorTransport>,
    id: ClientId,
    /// The names of the config's node.
    keys: Keys,
    is_in_fleet: bool,
    answers: Arc<PendingAnswers>,
    leases: KnownLeases,
    /// One permit for each request that may be under way.
    permits: Semaphore,
}

/// A process that serves a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberAddress {
    /// The node that it serves: the name by which it is asked.
    pub node: String,
    /// The number of the member in its fleet; `None` without a fleet.
    pub number: Option<u64>,
    /// The stage of the member's life in its fleet; `None` without a fleet.
    pub stage: Option<MemberStage>,
}

/// The stage of the life of a fleet's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberStage {
    /// It serves, and has names that it has not tried to list yet.
    Listing,
    /// It serves.
    Serving,
    /// It is about to stop: clients are to choose it no more.
    Draining,
    /// It has ended in good order.
    Left,
}

impl MemberStage {
    /// The name of the stage: `serving`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for MemberStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<MemberState> for MemberStage {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Listing => Self::Listing,
            MemberState::Serving => Self::Serving,
            MemberState::Draining => Self::Draining,
            MemberState::Left => Self::Left,
        }
    }
}

/// The author of an action and the reason, for the log of the process that is acted on. Both texts are required; more
/// than 256 bytes of either are not logged. They are not checked: Redis' users say who may act.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The name of the operator.
    pub operator: String,
    /// The reason of the action.
    pub reason: String,
}

impl Audit {
    /// The author of an action, and the reason.
    pub fn new(operator: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            operator: operator.into(),
            reason: reason.into(),
        }
    }
}

/// The reason that a member has not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The node cannot have this name.
    #[error(transparent)]
    Node(#[from] ConfigError),
    /// No process serves the node.
    #[error("no actor system serves this node")]
    NoResponder,
    /// The member does not answer, or does not act, and says why. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The member has not answered by the deadline. Its version of conclib may be one without inspection, or its user of
    /// Redis may lack the right to be asked.
    #[error("the member has not answered in time")]
    #[non_exhaustive]
    Timeout {
        /// The progress of the request: only [`Delivered::No`] says that an action was not executed.
        delivered: Delivered,
    },
    /// The bus cannot be used, or refuses this user the request.
    #[error("the bus refuses the request: {reason}")]
    #[non_exhaustive]
    Unavailable {
        /// The cause, in words.
        reason: String,
        /// The progress of the request: only [`Delivered::No`] says that an action was not executed.
        delivered: Delivered,
    },
    /// The member has refused the request for another reason.
    #[error(transparent)]
    Failed(AskError),
    /// The answer cannot be read: the member's version is another one.
    #[error("the answer cannot be read, since the member's version is another one: {reason}")]
    #[non_exhaustive]
    Unreadable {
        /// The cause, in words.
        reason: String,
    },
}

impl InspectError {
    /// True if an action that ended with this error was certainly not executed.
    pub fn is_not_executed(&self) -> bool {
        match self {
            Self::Node(_) | Self::NoResponder | Self::Refused(_) => true,
            Self::Timeout { delivered } | Self::Unavailable { delivered, .. } => {
                *delivered == Delivered::No
            }
            Self::Failed(error) => error.is_retryable(),
            Self::Unreadable { .. } => false,
        }
    }
}

/// A request on its way.
struct Attempt<'a> {
    node: &'a Keys,
    name: &'static str,
    right: Right,
    contents: &'a [u8],
    deadline: Instant,
    /// The progress so far.
    delivered: Delivered,
}

impl Inspector {
    /// Connects to the bus of a config, for its node or all members of its fleet. A query waits for its answer as
    /// long as the config's [timeout](Config::timeout) says.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: a setting is wrong, the bus cannot be reached, or its user may not inspect. It is no error if
    /// no process serves.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let mut id = ClientId::default();
        getrandom::fill(&mut id.0).map_err(|error| ConnectError::NoRandomness {
            reason: error.to_string(),
        })?;
        let answers = Arc::<PendingAnswers>::default();
        let transport = open::open_operator(config, id, answers.clone()).await?;
        Ok(Self {
            timeout: config.timeout,
            shared: Arc::new(InspectorShared {
                transport,
                id,
                keys: config.keys(),
                is_in_fleet: config.is_in_fleet(),
                answers,
                leases: KnownLeases::default(),
                permits: Semaphore::new(MAX_IN_FLIGHT),
            }),
        })
    }

    /// The same inspector with another time for each answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The members of the fleet, in the order of their numbers; without a fleet, the node of the config, whether or not
    /// a process serves it.
    ///
    /// # Errors
    ///
    /// [`InspectError`]: the bus cannot be used.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn members(&self) -> Result<Vec<MemberAddress>, InspectError> {
        if !self.shared.is_in_fleet {
            return Ok(vec![MemberAddress {
                node: self.shared.keys.node().to_owned(),
                number: None,
                stage: None,
            }]);
        }
        let members = self.shared.transport.members();
        let members = timeout_at(self.deadline(), members).await;
        let members = members.map_err(|_| InspectError::Timeout {
            delivered: Delivered::No,
        })?;
        let members = members.map_err(|error| unavailable(&error, Delivered::No))?;
        let members = members.all.into_iter().map(|member| MemberAddress {
            node: member.profile.node,
            number: Some(member.id.0),
            stage: Some(member.profile.state.into()),
        });
        Ok(members.collect())
    }

    /// Asks the process that serves a node.
    ///
    /// # Errors
    ///
    /// [`InspectError`]: every end of a query without an answer, at its deadline at the latest.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn ask<Q: Query>(
        &self,
        node: impl AsRef<str>,
        query: &Q,
    ) -> Result<Q::Answer, InspectError> {
        self.request(node.as_ref(), query).await
    }

    /// Acts on the process that serves a node.
    ///
    /// # Errors
    ///
    /// [`InspectError`]: the action was refused, or its outcome is not known. See
    /// [`is_not_executed`](InspectError::is_not_executed). An action that is not possible is an
    /// [outcome](ActionOutcome::Impossible).
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have acted. It does not act twice by itself.
    pub async fn act(
        &self,
        node: impl AsRef<str>,
        action: Action,
        audit: &Audit,
    ) -> Result<ActionOutcome, InspectError> {
        let request = ActionRequest {
            action,
            operator: audit.operator.clone(),
            reason: audit.reason.clone(),
        };
        self.request(node.as_ref(), &request).await
    }

    /// Finds the actor with this URN among the members, and returns its node as well; of several, the first in the
    /// order of the members.
    ///
    /// # Errors
    ///
    /// [`InspectError`]: no member has it, and the error of the first member that has not answered, if there is one.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn find(&self, urn: Urn) -> Result<(String, ActorDetails), InspectError> {
        let mut absence = None;
        for answer in self.ask_all(&ActorQuery::new(urn)).await? {
            match answer.outcome {
                Ok(details) => return Ok((answer.member.node, details)),
                Err(InspectError::Refused(error @ Refusal::NoSuchActor { .. })) => {
                    absence.get_or_insert(InspectError::Refused(error));
                }
                Err(error) => absence = Some(error),
            }
        }
        Err(absence.unwrap_or(InspectError::NoResponder))
    }

    /// Ends the connections. Later queries end with an error.
    pub async fn shutdown(&self) {
        self.shared.transport.close().await;
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.timeout)
            .unwrap_or(now + Duration::from_secs(24 * 60 * 60))
    }

    async fn request<Q: Query>(&self, node: &str, query: &Q) -> Result<Q::Answer, InspectError> {
        self.ask_as(VERSION, node, query).await
    }

    /// Asks as a peer of this version.
    pub(super) async fn ask_as<Q: Query>(
        &self,
        version: u16,
        node: &str,
        query: &Q,
    ) -> Result<Q::Answer, InspectError> {
        check_name("the node", node)?;
        let versioned = Versioned { version, query };
        let contents = encode(&versioned).map_err(|error| unreadable(&error))?;
        let mut attempt = Attempt {
            node: &self.shared.keys.of(node),
            name: Q::NAME,
            right: Q::NEEDS.0,
            contents: &contents,
            deadline: self.deadline(),
            delivered: Delivered::No,
        };
        let deadline = attempt.deadline;
        let answered = timeout_at(deadline, self.shared.exchange(&mut attempt)).await;
        let Ok(answered) = answered else {
            let delivered = attempt.delivered;
            return Err(InspectError::Timeout { delivered });
        };
        let contents = answered?;
        match decode(&contents).map_err(|error| unreadable(&error))? {
            Answer::Ok(answer) => Ok(answer),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }
}

impl InspectorShared {
    /// Sends a request until it is answered. A member that has too many of them is asked again.
    async fn exchange(&self, attempt: &mut Attempt<'_>) -> Result<Vec<u8>, InspectError> {
        // Never closed.
        let _permit = self.permits.acquire().await;
        loop {
            let error = match self.exchange_once(attempt).await? {
                Ok(contents) => return Ok(contents.into()),
                Err(error) => error,
            };
            attempt.delivered = Delivered::No;
            match error {
                AskError::Overloaded { retry_after } => {
                    sleep(retry_after.max(Duration::from_millis(1))).await;
                }
                AskError::NoResponder => return Err(InspectError::NoResponder),
                AskError::Timeout { delivered } => return Err(InspectError::Timeout { delivered }),
                error => return Err(InspectError::Failed(error)),
            }
        }
    }

    async fn exchange_once(
        &self,
        attempt: &mut Attempt<'_>,
    ) -> Result<Result<bytes::Bytes, AskError>, InspectError> {
        for _ in 0..MAX_TERMS {
            let Some((epoch, now)) = self.lease(attempt.node).await? else {
                break;
            };
            let wait = self.answers.begin(epoch, attempt.node.node());
            let frames = self.frames(attempt, &wait, now);
            attempt.delivered = Delivered::Unknown;
            let sent = self
                .transport
                .send(attempt.node, epoch, attempt.right, frames);
            let seen = sent.await.map_err(|error| {
                let delivered = match error {
                    TransportError::Unknown(_) => Delivered::Unknown,
                    _ => Delivered::No,
                };
                attempt.delivered = delivered;
                unavailable(&error, delivered)
            })?;
            if seen.is_none_or(|seen| seen.epoch != epoch) {
                attempt.delivered = Delivered::No; // no process takes requests of that term any more
                self.leases.forget(attempt.node.node());
                continue;
            }
            attempt.delivered = Delivered::Accepted;
            return Ok(wait.answer().await);
        }
        Err(InspectError::NoResponder)
    }

    /// The epoch of a node and the time of the bus; `None` if no process serves the node.
    async fn lease(&self, node: &Keys) -> Result<Option<(Epoch, ServerTime)>, InspectError> {
        if let Some(known) = self.leases.get(node.node()) {
            return Ok(Some(known));
        }
        let read = self.transport.lease(node).await;
        let (lease, now) = read.map_err(|error| unavailable(&error, Delivered::No))?;
        let Some(lease) = lease else { return Ok(None) };
        self.leases.note(node.node(), lease.epoch, now);
        Ok(Some((lease.epoch, now)))
    }

    /// The frame of a request, behind a confirmation of large answers that came in.
    fn frames(&self, attempt: &Attempt<'_>, wait: &AnswerWait, now: ServerTime) -> Vec<Frame> {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let frame = |kind, id, name, contents: &[u8]| {
            let request = Request {
                kind,
                origin: Origin {
                    client: self.id,
                    id,
                },
                urn: "",
                message: name,
                deadline: ServerTime(now.0.saturating_add(left)),
                attributes: &Attributes::new(),
                is_direct: false,
                is_left_out: false,
            };
            Frame::from(request.encode(contents.to_vec()))
        };
        let confirmed = wait.take_unconfirmed();
        let confirmation = confirmed.map(|bytes| frame(Kind::Confirm, bytes, "", &[]));
        let request = frame(Kind::Ask, wait.id(), attempt.name, attempt.contents);
        confirmation.into_iter().chain([request]).collect()
    }
}

impl Drop for InspectorShared {
    fn drop(&mut self) {
        // Connections end when they are dropped; the entry of a bus in memory does as well.
        self.answers.close();
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector")
            .field("node", &self.shared.keys.node())
            .field("is_in_fleet", &self.shared.is_in_fleet)
            .finish_non_exhaustive()
    }
}

fn unavailable(error: &TransportError, delivered: Delivered) -> InspectError {
    let reason = error.to_string();
    InspectError::Unavailable { reason, delivered }
}

fn unreadable(error: &crate::message::CodecError) -> InspectError {
    let reason = error.to_string();
    InspectError::Unreadable { reason }
}
