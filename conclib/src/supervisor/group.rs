//! The members of a group and their restarts: a state machine driven by events.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use crate::actor::ActorSnapshot;
use crate::actor::Context;
use crate::actor::any::AnyActor;
use crate::error::{ChildFailure, Failure};
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::exhausted;
use crate::supervision::{Backoff, Budget, History, RestartDecision, log_last_failure};
use crate::supervisor::event::{Event, Permit};
use crate::supervisor::member::MemberLink;
use crate::supervisor::{PendingChild, Strategy, Supervisor};

/// The time that a member has for ending its incarnation, if it restarts because of another member;
/// then its handler is dropped.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A group of members, which share a strategy and a budget.
pub(super) struct Group {
    strategy: Strategy,
    pub(super) budget: Budget,
    pub(super) backoff: Backoff,
    history: History,
    members: Vec<MemberSlot>,
    /// The members from this index on are ending their incarnations, the last one first.
    ending_from: Option<usize>,
    events: mpsc::UnboundedSender<Event>,
    /// Tasks that send [`Event::Timer`]; they end with the group.
    timers: JoinSet<()>,
    /// The times of the pending timers.
    timer_times: BTreeSet<Instant>,
}

/// A member, started or not.
struct MemberSlot {
    /// `None` before the start.
    actor: Option<Arc<dyn AnyActor>>,
    status: Status,
    /// The earliest time of its next start.
    not_before: Instant,
}

enum Status {
    PendingChild(Box<dyn PendingChild>),
    Starting,
    Up,
    /// The member was told to end its incarnation by this time.
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
            timers: JoinSet::new(),
            timer_times: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, member: Box<dyn PendingChild>) {
        self.members.push(MemberSlot {
            actor: None,
            status: Status::PendingChild(member),
            not_before: Instant::now(),
        });
    }

    /// True if each member has started or has ended for good.
    pub(super) fn has_started(&self) -> bool {
        let started = |slot: &MemberSlot| matches!(slot.status, Status::Up | Status::Gone);
        self.members.iter().all(started)
    }

    /// The members that are starting.
    pub(super) fn starting(&self) -> impl Iterator<Item = Arc<dyn AnyActor>> + '_ {
        let starting = |slot: &&MemberSlot| matches!(slot.status, Status::Starting);
        let starting = self.members.iter().filter(starting);
        starting.filter_map(|slot| slot.actor.clone())
    }

    pub(super) fn snapshot(&self) -> Vec<ActorSnapshot> {
        let actors = self.members.iter().filter_map(|slot| slot.actor.as_ref());
        actors.map(|actor| actor.snapshot()).collect()
    }

    /// Handles an event, and then takes all steps that are possible.
    ///
    /// # Errors
    ///
    /// The failure of a member, if the budget of restarts is spent.
    pub(super) fn on_event(
        &mut self,
        event: Event,
        ctx: &Context<Supervisor>,
    ) -> Result<(), Failure> {
        match event {
            Event::Up(index) => self.members[index].status = Status::Up,
            Event::Gone(index) => self.members[index].status = Status::Gone,
            Event::Timer => {}
            Event::Down {
                index,
                end,
                uptime,
                permit,
            } => self.on_down(index, &end, uptime, permit)?,
        }
        self.advance(ctx)
    }

    fn on_down(
        &mut self,
        index: usize,
        end: &StopReason,
        uptime: Duration,
        permit: Permit,
    ) -> Result<(), Failure> {
        let member = &mut self.members[index];
        let told_to_end = matches!(member.status, Status::Ending(_));
        if told_to_end {
            member.status = Status::Down(permit);
            return Ok(()); // even if it failed on the way
        }
        let Some(actor) = &member.actor else {
            unreachable!("a member that ended was spawned");
        };
        let urn = actor.urn().clone();
        let now = Instant::now();
        let jitter = fastrand::f64();
        match self
            .history
            .decide(self.budget, self.backoff, uptime, now, jitter)
        {
            RestartDecision::Exhausted => {
                let why = format!("{} in its group", self.budget.spent_by(end));
                log_last_failure(&urn, end, &why);
                let last = exhausted(end);
                permit.give(Err(StopReason::Exhausted(last.clone())));
                let spent = self.budget.spent_by(end);
                let text = format!("its member `{urn}` ended too often ({spent})");
                Err(ChildFailure::new(urn, last, text).into())
            }
            RestartDecision::Restart(wait) => {
                warn!(%urn, reason = %end, ?wait, strategy = ?self.strategy, "a member of a group ended; it starts again, with others by strategy");
                member.status = Status::Down(permit);
                member.not_before = now + wait;
                let from = match self.strategy {
                    Strategy::OneForOne => return Ok(()),
                    Strategy::OneForAll => 0,
                    Strategy::RestForOne => index,
                };
                let from = self.ending_from.map_or(from, |other| other.min(from));
                self.ending_from = Some(from);
                Ok(())
            }
        }
    }

    /// Takes all steps that are possible now: ends members, the last first, and then starts members
    /// in order.
    ///
    /// # Errors
    ///
    /// A member that cannot be spawned.
    pub(super) fn advance(&mut self, ctx: &Context<Supervisor>) -> Result<(), Failure> {
        // Forgets the timers that have fired.
        while self.timers.try_join_next().is_some() {}
        self.timer_times = self.timer_times.split_off(&Instant::now());
        if let Some(from) = self.ending_from {
            if self.end_last(from) {
                return Ok(());
            }
            self.ending_from = None;
        }
        self.start_next(ctx)
    }

    /// Ends the last running member from this index on; false if none is running.
    fn end_last(&mut self, from: usize) -> bool {
        let is_running = |slot: &MemberSlot| {
            matches!(
                slot.status,
                Status::Up | Status::Starting | Status::Ending(_)
            )
        };
        let Some(last) = self.members[from..]
            .iter_mut()
            .rfind(|slot| is_running(slot))
        else {
            return false;
        };
        let Some(actor) = &last.actor else {
            unreachable!("a running member was spawned");
        };
        let now = Instant::now();
        match last.status {
            Status::Up | Status::Starting => {
                // A starting member is told once it has started, unless it takes too long.
                if matches!(last.status, Status::Up) {
                    actor.restart_with_group();
                }
                let until = now + STOP_TIMEOUT;
                last.status = Status::Ending(until);
                self.start_timer(until);
            }
            Status::Ending(until) if until <= now => {
                warn!(urn = %actor.name(), "a member did not end its handler in time for a restart of its group; the handler is dropped");
                actor.interrupt();
            }
            // The member is ending, or still starting, and will report that.
            _ => {}
        }
        true
    }

    /// Starts the members that can start now.
    fn start_next(&mut self, ctx: &Context<Supervisor>) -> Result<(), Failure> {
        // With `OneForOne`, members restart independently of each other.
        let alone = self.strategy == Strategy::OneForOne;
        let all = self.members.iter().map(|slot| slot.not_before).max();
        for index in 0..self.members.len() {
            let slot = &mut self.members[index];
            let not_before = match all {
                Some(all) if !alone => all,
                _ => slot.not_before,
            };
            let due = not_before <= Instant::now();
            match std::mem::replace(&mut slot.status, Status::Starting) {
                Status::Down(permit) if due => {
                    permit.give(Ok(()));
                }
                Status::PendingChild(pending) => {
                    let link = MemberLink {
                        index,
                        events: self.events.clone(),
                    };
                    slot.actor = Some(pending.start(ctx, link)?);
                }
                Status::Down(permit) => {
                    slot.status = Status::Down(permit);
                    self.start_timer(not_before);
                }
                other => slot.status = other,
            }
            let slot = &self.members[index];
            let pending_follows = self
                .members
                .get(index + 1)
                .is_some_and(|next| matches!(next.status, Status::PendingChild(_)));
            let is_up = matches!(slot.status, Status::Up | Status::Gone);
            if !is_up && (!alone || pending_follows) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Starts a timer that fires at `at`.
    fn start_timer(&mut self, at: Instant) {
        if !self.timer_times.insert(at) {
            return;
        }
        let events = self.events.clone();
        self.timers.spawn(async move {
            tokio::time::sleep_until(at).await;
            drop(events.send(Event::Timer)); // fails if the supervisor has ended
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
