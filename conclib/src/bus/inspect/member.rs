//! Answers the queries of those who inspect a process, and acts for those who operate it: a task of the proxy, so
//! that neither full mailboxes nor stuck actors keep it from answering.

use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::bus::inspect::message::{
    ActionRequest, ActorQuery, ActorsQuery, FailuresQuery, Inspected, LogQuery, MetricsQuery,
    Named, Query, Refusal, SchemasQuery, StatusQuery, TreeQuery, TypesQuery, WaitsQuery,
    read_query,
};
use crate::bus::keys::Right;
use crate::bus::server::ProxyShared;
use crate::bus::server::counters::count;
use crate::bus::server::operator::{OperatorReply, OperatorRequest};
use crate::core::SystemCore;
use crate::error::panics::catch_future;
use crate::error::{AskError, Delivered};
use crate::message::encode;
use crate::system::metrics::SystemMetrics;

use cpu_share::CpuShare;
use lists::ActorLists;
use log_filter::LogFilter;

mod actions;
mod actor;
mod aside;
mod bound;
mod cpu_share;
mod lists;
mod log_filter;
mod pages;
mod process;
mod schemas;

/// The longest text of a page, in bytes, whatever the number of its entries.
const MAX_PAGE_BYTES: usize = 256 * 1024;

/// The member of a bus that is inspected.
pub(crate) struct InspectedMember {
    shared: Arc<ProxyShared>,
    /// Weak: the system owns its proxy, and this task is a part of that.
    core: Weak<SystemCore>,
    begun: Instant,
    share: CpuShare,
    lists: ActorLists,
    /// The counters as they were read last.
    metrics: Option<(Instant, SystemMetrics)>,
    log: LogFilter,
    /// Actions whose effects are awaited.
    acting: JoinSet<()>,
}

/// Answers a query.
trait Answers<Q: Query> {
    async fn answer(&mut self, query: Q) -> Result<Q::Answer, Refusal>;
}

/// Answers requests until the proxy has ended.
pub(crate) async fn answer_operators(shared: Arc<ProxyShared>, core: Weak<SystemCore>) {
    let Some(mut requests) = shared.operators.receiver() else {
        return;
    };
    let mut member = InspectedMember::new(shared.clone(), core);
    loop {
        let request = tokio::select! {
            biased;
            () = shared.ended.wait() => return,
            () = at(member.next_due()) => {
                member.end_due();
                continue;
            }
            request = requests.recv() => request,
        };
        let Some(request) = request else { return };
        while member.acting.try_join_next().is_some() {}
        // Code of the program runs in it: that of the filter, and hand-written names of handlers.
        if let Err(failure) = catch_future(member.handle(request)).await {
            error!(%failure, "answering an inspection panicked");
        }
        shared.stop.run_until_cancelled(member.share.rest()).await;
    }
}

/// Waits until a time; for ever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl InspectedMember {
    fn new(shared: Arc<ProxyShared>, core: Weak<SystemCore>) -> Self {
        let control = shared.config.operators.log_control.clone();
        Self {
            shared,
            core,
            begun: Instant::now(),
            share: CpuShare::default(),
            lists: ActorLists::default(),
            metrics: None,
            log: LogFilter::new(control),
            acting: JoinSet::new(),
        }
    }

    /// The time of the next event that no request brings.
    fn next_due(&self) -> Option<Instant> {
        let times = [self.lists.next_expiry(), self.log.reverts_at()];
        times.into_iter().flatten().min()
    }

    fn end_due(&mut self) {
        self.lists.expire();
        self.log.revert_if_due();
    }

    async fn handle(&mut self, request: OperatorRequest) {
        let OperatorRequest {
            right,
            name,
            contents,
            fence,
            reply,
        } = request;
        if self.shared.stop.is_cancelled() {
            return reply.refuse(AskError::NoResponder); // the lease is held until all requests are answered
        }
        if reply.deadline() <= Instant::now() {
            let delivered = Delivered::No;
            return reply.refuse(AskError::Timeout { delivered });
        }
        let answered = match &*name {
            ActionRequest::NAME => match self.admit(right, &contents) {
                // Another system may serve by now: not executed.
                Ok(_) if !fence.is_open() => return reply.refuse(AskError::NoResponder),
                Ok(action) => return self.act(action, reply),
                Err(refusal) => {
                    if right == Right::Admin {
                        info!(target: "conclib::admin", node = %self.shared.node, %refusal, "refused an action");
                    }
                    refused(refusal)
                }
            },
            StatusQuery::NAME => self.respond::<StatusQuery>(&contents).await,
            ActorsQuery::NAME => self.respond::<ActorsQuery>(&contents).await,
            TypesQuery::NAME => self.respond::<TypesQuery>(&contents).await,
            ActorQuery::NAME => self.respond::<ActorQuery>(&contents).await,
            TreeQuery::NAME => self.respond::<TreeQuery>(&contents).await,
            WaitsQuery::NAME => self.respond::<WaitsQuery>(&contents).await,
            FailuresQuery::NAME => self.respond::<FailuresQuery>(&contents).await,
            MetricsQuery::NAME => self.respond::<MetricsQuery>(&contents).await,
            LogQuery::NAME => self.respond::<LogQuery>(&contents).await,
            SchemasQuery::NAME => self.respond::<SchemasQuery>(&contents).await,
            _ => refused(Refusal::UnknownRequest { name }),
        };
        let counters = &self.shared.counters.operators;
        count(if answered.is_refusal {
            &counters.refused
        } else {
            &counters.inspections
        });
        answered.send(reply);
    }

    async fn respond<Q: Query>(&mut self, contents: &[u8]) -> Answered
    where
        Self: Answers<Q>,
    {
        match read_query::<Q>(contents) {
            Ok(query) => encoded(self.answer(query).await),
            Err(refusal) => refused(refusal),
        }
    }

    /// The system, while it exists.
    fn core(&self) -> Result<Arc<SystemCore>, Refusal> {
        self.core.upgrade().ok_or(Refusal::Ending)
    }

    /// The longest text of a page here, in bytes.
    fn max_page_bytes(&self) -> usize {
        MAX_PAGE_BYTES.min(self.max_answer_bytes())
    }

    /// The longest text of an answer that has no pages, in bytes.
    fn max_answer_bytes(&self) -> usize {
        self.shared.config.max_message_size / 2
    }
}

/// An encoded answer.
struct Answered {
    contents: Result<Vec<u8>, AskError>,
    is_refusal: bool,
}

impl Answered {
    fn send(self, reply: OperatorReply) {
        match self.contents {
            Ok(contents) => reply.send(contents),
            Err(error) => reply.refuse(error),
        }
    }
}

fn encoded<T: Serialize>(answer: Result<T, Refusal>) -> Answered {
    let is_refusal = answer.is_err();
    let answer = match answer {
        Ok(answer) => Inspected::Ok(answer),
        Err(refusal) => Inspected::Refused(refusal),
    };
    Answered {
        contents: encode(&answer).map_err(|error| AskError::BadResponse {
            reason: error.to_string(),
        }),
        is_refusal,
    }
}

fn refused(refusal: Refusal) -> Answered {
    encoded::<()>(Err(refusal))
}

/// The longest time for which the effect of an action is awaited before it is answered.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(1);
