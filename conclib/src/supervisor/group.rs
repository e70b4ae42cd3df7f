//! What becomes of the members of a group: a state machine that events drive.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use conclib_macros::ActorMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use crate::actor::cell::AnyActor;
use crate::actor::{Context, StopReason};
use crate::error::Failure;
use crate::supervision::lifecycle::exhausted;
use crate::supervision::{Backoff, Budget, History, Verdict, log_last_failure};
use crate::supervisor::member::Link;
use crate::supervisor::{Strategy, Supervisor, Unborn};
use crate::system::ActorSnapshot;

/// How long a member may take to end its life for the others' sake; then its handler is dropped.
const PATIENCE: Duration = Duration::from_secs(5);

/// What members report.
#[derive(ActorMessage)]
#[message(local)]
pub(super) enum Event {
    /// It has started.
    Up(usize),
    /// A life has ended; it waits for a word.
    Down {
        place: usize,
        end: StopReason,
        lived: Duration,
        permit: Permit,
    },
    /// It has ended for good.
    Gone(usize),
    /// It is time to look again.
    Time,
}

/// What a member waits for: to start again, or to end.
pub(super) struct Permit(pub(super) oneshot::Sender<Result<(), StopReason>>);

impl Permit {
    fn give(self, verdict: Result<(), StopReason>) {
        drop(self.0.send(verdict)); // nobody waits if the member has been stopped
    }
}

pub(super) struct Group {
    strategy: Strategy,
    pub(super) budget: Budget,
    pub(super) backoff: Backoff,
    history: History,
    members: Vec<Place>,
    /// Members from here on are to end their lives, the last first.
    ending_from: Option<usize>,
    events: mpsc::UnboundedSender<Event>,
    /// Send [`Event::Time`]. They end with the group.
    alarms: JoinSet<()>,
    /// The moments for which there is one.
    ringing: BTreeSet<Instant>,
}

/// One member.
struct Place {
    actor: Option<Arc<dyn AnyActor>>,
    status: Status,
    /// It does not start again before this moment.
    not_before: Instant,
}

enum Status {
    Unborn(Box<dyn Unborn>),
    Starting,
    Up,
    /// It was told to end its life, until when that is to be done.
    Ending(Instant),
    Down(Permit),
    Gone,
}

impl Group {
    pub(super) fn new(strategy: Strategy, events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            strategy,
            budget: Budget::default(),
            backoff: Backoff::default(),
            history: History::default(),
            members: Vec::new(),
            ending_from: None,
            events,
            alarms: JoinSet::new(),
            ringing: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, member: Box<dyn Unborn>) {
        self.members.push(Place {
            actor: None,
            status: Status::Unborn(member),
            not_before: Instant::now(),
        });
    }

    /// True if all members have started, those apart that have ended for good.
    pub(super) fn has_started(&self) -> bool {
        let started = |place: &Place| matches!(place.status, Status::Up | Status::Gone);
        self.members.iter().all(started)
    }

    /// The members whose start is under way.
    pub(super) fn starting(&self) -> impl Iterator<Item = Arc<dyn AnyActor>> + '_ {
        let starting = |place: &&Place| matches!(place.status, Status::Starting);
        let starting = self.members.iter().filter(starting);
        starting.filter_map(|place| place.actor.clone())
    }

    pub(super) fn snapshot(&self) -> Vec<ActorSnapshot> {
        let actors = self.members.iter().filter_map(|place| place.actor.as_ref());
        actors.map(|actor| actor.snapshot()).collect()
    }

    /// Takes in what a member reports, and does what follows.
    ///
    /// # Errors
    ///
    /// The failure of a member, if the budget does not allow another.
    pub(super) fn on_event(
        &mut self,
        event: Event,
        ctx: &Context<Supervisor>,
    ) -> Result<(), Failure> {
        match event {
            Event::Up(place) => self.members[place].status = Status::Up,
            Event::Gone(place) => self.members[place].status = Status::Gone,
            Event::Time => {}
            Event::Down {
                place,
                end,
                lived,
                permit,
            } => self.on_down(place, &end, lived, permit)?,
        }
        self.advance(ctx)
    }

    fn on_down(
        &mut self,
        place: usize,
        end: &StopReason,
        lived: Duration,
        permit: Permit,
    ) -> Result<(), Failure> {
        let member = &mut self.members[place];
        let told = matches!(member.status, Status::Ending(_));
        if told {
            member.status = Status::Down(permit);
            return Ok(()); // whatever happened to it on the way
        }
        let now = Instant::now();
        let jitter = fastrand::f64();
        match self
            .history
            .judge(self.budget, self.backoff, lived, now, jitter)
        {
            Verdict::Exhausted => {
                let Some(actor) = &member.actor else {
                    return Ok(()); // not reached: it has lived
                };
                let urn = actor.urn();
                let why = format!("{} in its group", self.budget.spent_by(end));
                log_last_failure(urn, end, &why);
                permit.give(Err(exhausted(end)));
                let Budget { restarts, within } = self.budget;
                let failure = format!(
                    "its member `{urn}` ended once more than {restarts} times within {within:?}: {end}"
                );
                Err(Failure::msg(failure))
            }
            Verdict::Restart(wait) => {
                warn!(place, reason = %end, ?wait, strategy = ?self.strategy, "a group starts again");
                member.status = Status::Down(permit);
                member.not_before = now + wait;
                let from = match self.strategy {
                    Strategy::OneForOne => return Ok(()),
                    Strategy::OneForAll => 0,
                    Strategy::RestForOne => place,
                };
                let from = self.ending_from.map_or(from, |other| other.min(from));
                self.ending_from = Some(from);
                Ok(())
            }
        }
    }

    /// Takes all steps that can be taken now: ends, the last member first; then starts in order.
    ///
    /// # Errors
    ///
    /// A member that cannot be spawned.
    pub(super) fn advance(&mut self, ctx: &Context<Supervisor>) -> Result<(), Failure> {
        // Both hold those that have not rung.
        while self.alarms.try_join_next().is_some() {}
        self.ringing = self.ringing.split_off(&Instant::now());
        if let Some(from) = self.ending_from {
            if self.end_last(from) {
                return Ok(());
            }
            self.ending_from = None;
        }
        self.start_next(ctx)
    }

    /// Ends the last of those from here on that lives; false if none does.
    fn end_last(&mut self, from: usize) -> bool {
        let living = |place: &Place| {
            matches!(
                place.status,
                Status::Up | Status::Starting | Status::Ending(_)
            )
        };
        let Some(last) = self.members[from..].iter_mut().rfind(|place| living(place)) else {
            return false;
        };
        let Some(actor) = &last.actor else {
            return true; // not reached: who lives was spawned
        };
        let now = Instant::now();
        match last.status {
            Status::Up | Status::Starting => {
                // Who is starting is told when it reports that it has, unless it takes too long.
                if matches!(last.status, Status::Up) {
                    actor.regroup();
                }
                let until = now + PATIENCE;
                last.status = Status::Ending(until);
                self.ring(until);
            }
            Status::Ending(until) if until <= now => {
                warn!(urn = %actor.urn(), "a member does not end its life; its handler is dropped");
                actor.control().cut_life();
            }
            // It is on its way, and reports when it has started or ended.
            _ => {}
        }
        true
    }

    /// Starts those whose turn it is.
    fn start_next(&mut self, ctx: &Context<Supervisor>) -> Result<(), Failure> {
        // Who starts again for its own sake does not wait for others, nor they for it.
        let alone = self.strategy == Strategy::OneForOne;
        let all = self.members.iter().map(|place| place.not_before).max();
        for index in 0..self.members.len() {
            let place = &mut self.members[index];
            let not_before = match all {
                Some(all) if !alone => all,
                _ => place.not_before,
            };
            let due = not_before <= Instant::now();
            match std::mem::replace(&mut place.status, Status::Starting) {
                Status::Down(permit) if due => {
                    permit.give(Ok(()));
                }
                Status::Unborn(unborn) => {
                    let link = Link {
                        place: index,
                        events: self.events.clone(),
                    };
                    place.actor = Some(unborn.start(ctx, link)?);
                }
                Status::Down(permit) => {
                    place.status = Status::Down(permit);
                    self.ring(not_before);
                }
                other => place.status = other,
            }
            let place = &self.members[index];
            let unborn_follows = self
                .members
                .get(index + 1)
                .is_some_and(|next| matches!(next.status, Status::Unborn(_)));
            let is_up = matches!(place.status, Status::Up | Status::Gone);
            if !is_up && (!alone || unborn_follows) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has the group look again at that moment.
    fn ring(&mut self, at: Instant) {
        if !self.ringing.insert(at) {
            return;
        }
        let events = self.events.clone();
        self.alarms.spawn(async move {
            tokio::time::sleep_until(at).await;
            drop(events.send(Event::Time)); // nobody listens if the supervisor has ended
        });
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("strategy", &self.strategy)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}
