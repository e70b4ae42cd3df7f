//! `metrics`: the counters of all members, for a scraper.
//!
//! - [`queues`]: families that are read from Redis

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use conclib::Config;
use conclib::error::AskErrorKind;
use conclib::inspect::{Inspector, MemberMetrics, MetricsQuery};
use conclib::metrics::{ActorTypeMetrics, Anomaly, DurableStats, ProxyStats};
use conclib::monitor::BusMonitor;
use tokio::net::TcpListener;

use crate::command::inspection::{connect, members, short_type};
use crate::exit::{Exit, Failure};
use crate::openmetrics::{self, Family, Figures, counter, gauge};
use crate::output::Output;
use queues::Missing;

mod queues;

const UP: Family = gauge("conclib_member_up", "1 if the member answers");
const ACTORS: Family = gauge("conclib_actors", "Living actors");
const HANDLED: Family = counter(
    "conclib_actor_handled",
    "Messages and ticks handled without a failure",
);
const HANDLERS: Family = counter("conclib_handler_messages", "Messages and ticks, by handler");
const FAILURES: Family = counter("conclib_actor_failures", "Failures");
const RESTARTS: Family = counter("conclib_actor_restarts", "Restarts");
const STOPPED: Family = counter("conclib_actor_stopped", "Actors that have ended");
const LOST: Family = counter("conclib_actor_lost", "Messages that no handler has begun");
const QUEUED: Family = gauge(
    "conclib_mailbox_messages",
    "Messages that wait, in all mailboxes",
);
const QUEUED_MAX: Family = gauge(
    "conclib_mailbox_messages_max",
    "Messages in the fullest mailbox",
);
const OLDEST: Family = gauge(
    "conclib_mailbox_oldest_seconds_max",
    "Age of the oldest message",
);
const SENDERS: Family = gauge(
    "conclib_mailbox_senders_waiting",
    "Senders that wait for room",
);
const RUNNING: Family = gauge(
    "conclib_handler_running_seconds_max",
    "Time for which the slowest handler has run",
);
const REQUESTS: Family = counter("conclib_bus_requests", "Requests that came from the bus");
const ANSWERS: Family = counter("conclib_bus_answers", "Asks, by the outcome that was sent");
const UNREAD: Family = counter("conclib_bus_unread", "Requests that could not be read");
const ABANDONED: Family = counter("conclib_bus_abandoned", "Asks whose callers had given up");
const LOST_TELLS: Family = counter("conclib_bus_lost_tells", "Tells that no handler has begun");
const UNDELIVERED: Family = gauge(
    "conclib_bus_undelivered_bytes",
    "Size of the requests that wait in mailboxes",
);
const ANOMALIES: Family = counter("conclib_bus_anomalies", "Input that could not be used");
const ENDED: Family = counter("conclib_durable_ended", "Durable messages that have ended");
const FAILED_DELIVERIES: Family = counter(
    "conclib_durable_failed_deliveries",
    "Deliveries that have failed",
);
const LEASE_HELD: Family = gauge("conclib_lease_held", "1 with the lease");
const LEASE_LOSSES: Family = counter("conclib_lease_losses", "Leases that were lost");
const CONNECTION_LOSSES: Family =
    counter("conclib_connection_losses", "Connections that were lost");
/// The errors of lost messages whose series are there from the start.
const LOST_FROM_THE_START: [AskErrorKind; 3] = [
    AskErrorKind::Overloaded,
    AskErrorKind::Timeout,
    AskErrorKind::ActorStopped,
];

/// Print the counters of all members as OpenMetrics text, or serve them to a scraper
///
/// The families are those of the page on metrics, each with the label `node`; those that cannot be read are named on standard
/// error, once each. With --listen, members are asked when the scraper asks: nothing is spent in between.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// Serve the text at http://ADDRESS/metrics until the process is stopped, such as 127.0.0.1:9100
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// The ends that the counters are read by.
struct Sources {
    inspector: Inspector,
    monitor: BusMonitor,
    /// The families that were said to be left out.
    missing: Missing,
}

impl Metrics {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let sources = Sources {
            inspector: connect(config).await?,
            monitor: BusMonitor::connect(config).await?,
            missing: Missing::new(output),
        };
        match self.listen {
            None => output.line(sources.text().await?.trim_end()),
            Some(address) => serve(sources, address, output).await,
        }
    }
}

async fn serve(sources: Sources, address: SocketAddr, output: Output) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await;
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Usage,
            "listen",
            format!("cannot listen at {address}: {error}"),
        )
    };
    let listener = listener.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    output.note("serving", &format!("serving http://{address}/metrics"));
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(sources));
    axum::serve(listener, router)
        .with_graceful_shutdown(conclib::service::shutdown_signal())
        .await
        .map_err(failed)
}

async fn scrape(State(sources): State<Arc<Sources>>) -> Response {
    match sources.text().await {
        Ok(text) => ([(CONTENT_TYPE, openmetrics::CONTENT_TYPE)], text).into_response(),
        Err(failure) => (StatusCode::SERVICE_UNAVAILABLE, failure.to_string()).into_response(),
    }
}

impl Sources {
    async fn text(&self) -> Result<String, Failure> {
        members(&self.inspector).await?;
        let mut figures = Figures::default();
        for answer in self.inspector.ask_all(&MetricsQuery::default()).await? {
            let node = &answer.member.node;
            let is_up = answer.outcome.is_ok();
            figures.add(UP, &[("node", node)], u64::from(is_up));
            if let Ok(metrics) = answer.outcome {
                record(&mut figures, node, &metrics);
            }
            if let Ok(monitor) = self.monitor.of_node(node) {
                self.record_queues(&mut figures, &monitor, is_up).await;
            }
        }
        Ok(figures.text())
    }
}

fn record(figures: &mut Figures, node: &str, metrics: &MemberMetrics) {
    for of_type in &metrics.system.types {
        record_type(figures, node, of_type);
    }
    record_proxy(figures, node, &metrics.proxy);
}

fn record_type(figures: &mut Figures, node: &str, of_type: &ActorTypeMetrics) {
    let actor = short_type(&of_type.actor_type);
    let labels = [("node", node), ("actor", &*actor)];
    let with = |name: &'static str, value| [labels[0], labels[1], (name, value)];
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for (phase, count) in [
        ("starting", of_type.starting),
        ("running", of_type.running),
        ("restarting", of_type.restarting),
        ("stopping", of_type.stopping),
    ] {
        figures.add(ACTORS, &with("phase", phase), number(count));
    }
    figures.add(HANDLED, &labels, of_type.handled);
    let errors = of_type.failures.saturating_sub(of_type.panics);
    figures.add(FAILURES, &with("kind", "error"), errors);
    figures.add(FAILURES, &with("kind", "panic"), of_type.panics);
    figures.add(RESTARTS, &labels, of_type.restarts);
    for stopped in &of_type.stopped {
        figures.add(
            STOPPED,
            &with("reason", stopped.kind.as_str()),
            stopped.count,
        );
    }
    for kind in LOST_FROM_THE_START {
        figures.add(LOST, &with("error", kind.as_str()), 0);
    }
    for lost in &of_type.lost {
        figures.add(LOST, &with("error", lost.kind.as_str()), lost.count);
    }
    for handler in &of_type.handlers {
        let message = handler.message.as_deref().unwrap_or("_OTHER");
        for (outcome, count) in [("ok", handler.handled), ("failed", handler.failed)] {
            let labels = [
                ("node", node),
                ("actor", &*actor),
                ("handler", &*handler.handler),
                ("message", message),
                ("outcome", outcome),
            ];
            figures.add(HANDLERS, &labels, count);
        }
    }
    figures.add(QUEUED, &labels, number(of_type.queued));
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floating-point numbers"
    )]
    figures.max(QUEUED_MAX, &labels, of_type.queued_max as f64);
    let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
    figures.max(OLDEST, &labels, seconds(of_type.oldest));
    figures.add(SENDERS, &labels, number(of_type.waiting_senders));
    figures.max(RUNNING, &labels, seconds(of_type.longest_running));
}

fn record_proxy(figures: &mut Figures, node: &str, stats: &ProxyStats) {
    let labels = [("node", node)];
    let with = |name: &'static str, value| [labels[0], (name, value)];
    figures.add(REQUESTS, &with("kind", "ask"), stats.received_asks);
    figures.add(REQUESTS, &with("kind", "tell"), stats.received_tells);
    figures.add(ANSWERS, &with("outcome", "ok"), stats.asks.ok);
    figures.add(
        ANSWERS,
        &with("outcome", AskErrorKind::Overloaded.as_str()),
        0,
    );
    for error in &stats.asks.errors {
        figures.add(ANSWERS, &with("outcome", error.kind.as_str()), error.count);
    }
    // From the start, or the first ones are missed by `increase(…)`.
    for kind in AskErrorKind::all() {
        figures.add(LOST_TELLS, &with("error", kind.as_str()), 0);
    }
    for kind in Anomaly::all() {
        figures.add(ANOMALIES, &with("kind", kind.as_str()), 0);
    }
    for error in &stats.lost_tells {
        figures.add(LOST_TELLS, &with("error", error.kind.as_str()), error.count);
    }
    for anomaly in &stats.anomalies {
        figures.add(
            ANOMALIES,
            &with("kind", anomaly.kind.as_str()),
            anomaly.count,
        );
    }
    figures.add(UNREAD, &labels, stats.unread);
    figures.add(ABANDONED, &labels, stats.abandoned_asks);
    figures.add(
        UNDELIVERED,
        &labels,
        u64::try_from(stats.waiting_bytes).unwrap_or(u64::MAX),
    );
    record_ended(figures, node, &stats.durable);
    figures.add(LEASE_HELD, &labels, u64::from(stats.epoch.is_some()));
    figures.add(LEASE_LOSSES, &labels, stats.lease_losses);
    figures.add(CONNECTION_LOSSES, &labels, stats.connection_losses.into());
}

fn record_ended(figures: &mut Figures, node: &str, durable: &DurableStats) {
    for (verdict, count) in [
        ("handled", durable.handled),
        ("duplicate", durable.duplicates),
        ("key_conflict", durable.key_conflicts),
        ("dead_letter", durable.dead_letters),
        ("dropped_dead_letter", durable.dropped_dead_letters),
    ] {
        figures.add(ENDED, &[("node", node), ("verdict", verdict)], count);
    }
    figures.add(
        FAILED_DELIVERIES,
        &[("node", node)],
        durable.failed_deliveries,
    );
}
