//! The end of those who inspect and operate processes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::bus::config::{Config, check_name};
use crate::bus::inspect::message::{
    Action, ActionOutcome, ActionRequest, ActorDetails, ActorQuery, Inspected, Query, Refusal,
    VERSION, Versioned,
};
use crate::bus::keys::Keys;
use crate::bus::open::{self, ConnectError};
use crate::bus::transport::OperatorTransport;
use crate::error::Delivered;
use crate::message::{decode, encode};
use crate::reply::remote::ClientId;
use crate::urn::Urn;

pub use address::{MemberAddress, MemberStage};
use answers::PendingAnswers;
pub use error::InspectError;
use error::{unavailable, unreadable};
use exchange::Attempt;
pub use fleet::{ActorOf, FleetActors, FromMember};
use leases::KnownLeases;

mod address;
mod answers;
mod error;
mod exchange;
mod fleet;
mod leases;

/// The most requests of one inspector that are under way: further ones wait for their turn.
const MAX_IN_FLIGHT: usize = 16;

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
            Inspected::Ok(answer) => Ok(answer),
            Inspected::Refused(refusal) => Err(refusal.into()),
        }
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
