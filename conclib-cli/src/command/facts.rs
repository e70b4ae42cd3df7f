//! The facts of a bus, for `status` and `doctor`. What the user of Redis may not read is left out and noted.

use std::time::{Duration, SystemTime};

use conclib::Config;
use conclib::monitor::{
    BusMonitor, DeadLetterStatus, DurableStatus, LeaseStatus, MemberEntry, MonitorError, RoundTrip,
    ServerStatus,
};
use serde::Serialize;

use crate::command::inspection::{backlog, connect};
use crate::command::{is_fleet, namespace};
use crate::exit::Failure;
use crate::output::age;
use crate::time::timestamp;

/// The longest time for which a process that answers is waited for to have read the ages.
const AGES_TIMEOUT: Duration = Duration::from_secs(5);

/// The facts of a bus.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) namespace: String,
    pub(crate) is_fleet: bool,
    pub(crate) round_trip: Option<RoundTrip>,
    pub(crate) server: Option<ServerStatus>,
    /// The node of the config; in a fleet those of its members.
    pub(crate) nodes: Vec<NodeFacts>,
    /// The members of the fleet; `None` without one, or if they may not be read.
    pub(crate) members: Option<Vec<MemberEntry>>,
    pub(crate) refused: Vec<Refusal>,
    /// The ages of durable messages may be read, or there are none.
    pub(crate) can_read_ages: bool,
}

/// The facts of a node.
#[derive(Debug)]
pub(crate) struct NodeFacts {
    pub(crate) node: String,
    /// The stage of its life, of a member of a fleet.
    pub(crate) member: Option<MemberEntry>,
    pub(crate) lease: LeaseFact,
    pub(crate) inbox: Option<u64>,
    /// Without a fleet, which has none.
    pub(crate) durable: Option<DurableStatus>,
    pub(crate) dead_letters: Option<DeadLetterStatus>,
}

/// The lease of a node.
#[derive(Debug)]
pub(crate) enum LeaseFact {
    /// It may not be read.
    Unknown,
    /// No process has it.
    Free,
    /// A process has it.
    Held(LeaseStatus),
}

impl LeaseFact {
    pub(crate) fn held(&self) -> Option<&LeaseStatus> {
        match self {
            Self::Held(lease) => Some(lease),
            Self::Unknown | Self::Free => None,
        }
    }
}

impl NodeFacts {
    /// True if a process takes requests there, as far as can be read.
    pub(crate) fn is_served(&self) -> bool {
        match &self.lease {
            LeaseFact::Held(lease) => lease.is_serving,
            LeaseFact::Free => false,
            LeaseFact::Unknown => true,
        }
    }

    /// The age of the oldest durable message.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.durable.as_ref()?.oldest.map(age)
    }
}

/// A fact that the user of Redis may not read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refusal {
    /// The fact.
    pub(crate) fact: &'static str,
    /// The words of Redis.
    pub(crate) reason: String,
}

impl Facts {
    /// Reads the facts.
    ///
    /// # Errors
    ///
    /// Redis does not answer.
    pub(crate) async fn read(config: &Config, monitor: &BusMonitor) -> Result<Self, Failure> {
        let mut facts = Self {
            namespace: namespace(config),
            is_fleet: is_fleet(config),
            round_trip: None,
            server: None,
            nodes: Vec::new(),
            members: None,
            refused: Vec::new(),
            can_read_ages: true,
        };
        facts.round_trip = facts.keep("time", monitor.round_trip().await)?;
        facts.server = facts.keep("server", monitor.server().await)?.flatten();
        if facts.is_fleet {
            facts.members = facts.keep("members", monitor.members().await)?;
            for member in facts.members.clone().unwrap_or_default() {
                let monitor = monitor.of_node(&member.node);
                let monitor = monitor.map_err(|error| Failure::usage(error.to_string()))?;
                let mut node = facts.node(&monitor).await?;
                node.member = Some(member);
                facts.nodes.push(node);
            }
        } else {
            let mut node = facts.node(monitor).await?;
            node.durable = facts.keep("durable messages", monitor.durable().await)?;
            node.dead_letters = facts.keep("dead letters", monitor.dead_letters().await)?;
            let durable = node.durable.as_ref();
            facts.can_read_ages =
                durable.is_some_and(|durable| durable.is_readable || durable.stored == 0);
            facts.nodes.push(node);
        }
        Ok(facts)
    }

    /// Asks the process of the node for the age of its oldest durable message, if this user may not read that: it would be
    /// the right to read contents.
    ///
    /// # Errors
    ///
    /// The process does not tell it.
    pub(crate) async fn ask_ages(&mut self, config: &Config) -> Result<(), Failure> {
        if self.can_read_ages || !self.is_served() {
            return Ok(());
        }
        let inspector = connect(config).await?;
        for node in &mut self.nodes {
            let Some(durable) = &mut node.durable else {
                return Ok(()); // its number may not be read either: said by the end
            };
            let backlog = backlog(&inspector, &node.node, AGES_TIMEOUT).await?;
            durable.oldest = match (backlog.oldest, backlog.stored) {
                (Some(oldest), _) => SystemTime::now().checked_sub(oldest),
                (None, Some(0)) => None,
                (None, _) => return Ok(()), // nor may the process: said by the end
            };
        }
        self.can_read_ages = true;
        Ok(())
    }

    /// Reads the lease and the inbox of a node.
    async fn node(&mut self, monitor: &BusMonitor) -> Result<NodeFacts, Failure> {
        let lease = self.keep("lease", monitor.lease().await)?;
        let lease = match lease {
            None => LeaseFact::Unknown,
            Some(None) => LeaseFact::Free,
            Some(Some(lease)) => LeaseFact::Held(lease),
        };
        let inbox = match lease.held() {
            Some(lease) => self.keep("inbox", monitor.inbox_len(lease.epoch).await)?,
            None => None,
        };
        Ok(NodeFacts {
            node: monitor.node().to_owned(),
            member: None,
            lease,
            inbox,
            durable: None,
            dead_letters: None,
        })
    }

    /// A fact, or a note that it may not be read.
    fn keep<T>(
        &mut self,
        fact: &'static str,
        read: Result<T, MonitorError>,
    ) -> Result<Option<T>, Failure> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(MonitorError::NotPermitted(reason)) => {
                // Each member of a fleet has the same facts.
                if self.refused.iter().all(|refusal| refusal.fact != fact) {
                    self.refused.push(Refusal { fact, reason });
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// True if a process takes requests, as far as can be read.
    pub(crate) fn is_served(&self) -> bool {
        self.nodes.iter().any(NodeFacts::is_served) || (self.is_fleet && self.members.is_none())
    }

    /// The age of the oldest durable message.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.nodes.iter().filter_map(NodeFacts::oldest).max()
    }
}

/// The facts as JSON. Durations are in milliseconds or seconds, as their names say.
#[derive(Serialize)]
struct Object<'a> {
    namespace: &'a str,
    fleet: bool,
    served: bool,
    redis: Option<RedisObject<'a>>,
    nodes: Vec<NodeObject<'a>>,
    refused: &'a [Refusal],
}

#[derive(Serialize)]
struct RedisObject<'a> {
    round_trip_ms: f64,
    /// Positive if the clock of Redis is ahead.
    clock_offset_ms: f64,
    server: Option<&'a ServerStatus>,
}

#[derive(Serialize)]
struct NodeObject<'a> {
    node: &'a str,
    served: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<String>,
    lease: Option<LeaseObject<'a>>,
    inbox: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<DurableObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<DeadObject>,
}

#[derive(Serialize)]
struct LeaseObject<'a> {
    epoch: u64,
    instance: &'a str,
    serving: bool,
    duration_ms: u64,
    remaining_ms: Option<u64>,
    protocol: (u8, u8),
    max_message_size: u64,
}

#[derive(Serialize)]
struct DurableObject {
    stored: u64,
    delayed: u64,
    in_progress: Option<u64>,
    oldest: Option<String>,
    oldest_seconds: Option<u64>,
}

#[derive(Serialize)]
struct DeadObject {
    stored: u64,
    oldest: Option<String>,
    oldest_seconds: Option<u64>,
}

impl<'a> From<&'a NodeFacts> for NodeObject<'a> {
    fn from(node: &'a NodeFacts) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            node: &node.node,
            served: node.is_served(),
            stage: node.member.as_ref().map(|member| member.stage.as_str()),
            joined: node.member.as_ref().map(|member| timestamp(member.joined)),
            lease: node.lease.held().map(|lease| LeaseObject {
                epoch: lease.epoch,
                instance: &lease.instance,
                serving: lease.is_serving,
                duration_ms: millis(lease.duration),
                remaining_ms: lease.remaining.map(millis),
                protocol: lease.protocol,
                max_message_size: lease.max_message_size,
            }),
            inbox: node.inbox,
            durable: node.durable.as_ref().map(|durable| DurableObject {
                stored: durable.stored,
                delayed: durable.delayed,
                in_progress: durable.is_readable.then_some(durable.in_progress),
                oldest: durable.oldest.map(timestamp),
                oldest_seconds: durable.oldest.map(|oldest| age(oldest).as_secs()),
            }),
            dead_letters: node.dead_letters.as_ref().map(|dead| DeadObject {
                stored: dead.stored,
                oldest: dead.oldest.map(timestamp),
                oldest_seconds: dead.oldest.map(|oldest| age(oldest).as_secs()),
            }),
        }
    }
}

impl Serialize for Facts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let redis = self.round_trip.map(|trip| {
            let offset = trip.clock_offset.as_secs_f64() * 1000.0;
            RedisObject {
                round_trip_ms: trip.elapsed.as_secs_f64() * 1000.0,
                clock_offset_ms: if trip.clock_is_ahead { offset } else { -offset },
                server: self.server.as_ref(),
            }
        });
        Object {
            namespace: &self.namespace,
            fleet: self.is_fleet,
            served: self.is_served(),
            redis,
            nodes: self.nodes.iter().map(NodeObject::from).collect(),
            refused: &self.refused,
        }
        .serialize(serializer)
    }
}
