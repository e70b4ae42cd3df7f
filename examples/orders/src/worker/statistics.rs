//! Numbers of orders, hour by hour.

use std::mem::take;

use conclib::prelude::*;
use conclib::topic::Topic;

use crate::{GetStatistics, Statistics, Status};

/// An order was placed, or closed.
#[derive(Debug, Clone, Copy, ActorMessage)]
#[message(local)]
pub struct OrderChanged {
    /// Its new status.
    pub status: Status,
}

/// A full hour.
#[derive(Debug, ActorMessage)]
#[message(local)]
pub struct NewHour;

/// Counts what the orders publish, from the start of this process' turn.
#[derive(Debug, Actor)]
#[actor(urn = "statistics")]
#[periodic(tick = NewHour, cron = "0 0 * * * *", while_serving)]
pub struct StatisticsActor {
    changes: Topic<OrderChanged>,
    statistics: Statistics,
}

impl StatisticsActor {
    /// Begins to count when it starts.
    pub fn new(changes: Topic<OrderChanged>) -> Self {
        Self {
            changes,
            statistics: Statistics::default(),
        }
    }
}

#[handlers]
impl StatisticsActor {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        self.changes.subscribe(&ctx.actor_ref().recipient());
    }

    /// Counts an order.
    #[handler]
    pub fn changed(&mut self, OrderChanged { status }: OrderChanged) {
        let counts = &mut self.statistics.this_hour;
        match status {
            Status::Open => counts.placed += 1,
            Status::Paid => counts.paid += 1,
            Status::Cancelled | Status::Expired => counts.lost += 1,
        }
    }

    /// Begins to count from 0.
    #[handler]
    pub fn new_hour(&mut self, _: NewHour) {
        self.statistics.last_hour = take(&mut self.statistics.this_hour);
    }

    /// Reads the numbers.
    #[handler]
    pub fn get(&mut self, _: GetStatistics) -> Statistics {
        self.statistics
    }
}
