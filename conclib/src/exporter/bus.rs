//! The families of the bus.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::families::SourceFigures;
use crate::bus::server::ProxyShared;
use crate::bus::{Proxy, ProxyClient};
use crate::error::AskErrorKind;
use crate::metrics::{
    Anomaly, AnomalyCount, BacklogStats, FleetStats, MemberCounts, MessageStats, OutcomeCounts,
};

/// The proxies that were published, by their numbers.
#[derive(Default)]
pub(super) struct KnownProxies(Vec<Weak<ProxyShared>>);

impl KnownProxies {
    /// The number of a proxy: no other one has it, also after its end.
    pub(super) fn number(&mut self, proxy: &Proxy) -> usize {
        let proxy = Arc::downgrade(&proxy.shared);
        let known = self.0.iter().position(|known| known.ptr_eq(&proxy));
        known.unwrap_or_else(|| {
            self.0.push(proxy);
            self.0.len() - 1
        })
    }
}

impl SourceFigures<'_> {
    /// The families of a proxy.
    pub(super) fn proxy(&mut self, proxy: &Proxy) {
        let stats = proxy.stats();
        let node = ("node", &*stats.node);
        for (kind, count) in [("ask", stats.received_asks), ("tell", stats.received_tells)] {
            self.count("conclib_bus_requests_total", &[node, ("kind", kind)], count);
        }
        for (outcome, count) in by_kind(&stats.asks) {
            let labels = [node, ("outcome", outcome)];
            self.count("conclib_bus_answers_total", &labels, count);
        }
        self.count("conclib_bus_unread_total", &[node], stats.unread);
        self.count("conclib_bus_abandoned_total", &[node], stats.abandoned_asks);
        for kind in AskErrorKind::ALL {
            let of_kind = stats.lost_tells.iter().filter(|lost| lost.kind == kind);
            let labels = [node, ("error", kind.as_str())];
            let count = of_kind.map(|lost| lost.count).sum();
            self.count("conclib_bus_lost_tells_total", &labels, count);
        }
        self.count("conclib_bus_reads_total", &[node], stats.reads);
        self.durations(
            "conclib_bus_round_trip_seconds",
            &[node],
            &stats.round_trips,
        );
        self.anomalies(node, &stats.anomalies);
        let durable = &stats.durable;
        for (verdict, count) in [
            ("handled", durable.handled),
            ("duplicate", durable.duplicates),
            ("key_conflict", durable.key_conflicts),
            ("dead_letter", durable.dead_letters),
            ("dropped_dead_letter", durable.dropped_dead_letters),
        ] {
            let labels = [node, ("verdict", verdict)];
            self.count("conclib_durable_ended_total", &labels, count);
        }
        let failed = durable.failed_deliveries;
        self.count("conclib_durable_failed_deliveries_total", &[node], failed);
        self.add("conclib_durable_in_flight", &[node], durable.in_flight);
        self.add("conclib_durable_deferred", &[node], durable.deferred);
        if let Some(backlog) = &stats.backlog {
            self.backlog(node, backlog);
        }
        if let Some(fleet) = &stats.fleet {
            self.fleet(node, fleet);
        }
        self.add(
            "conclib_bus_undelivered_bytes",
            &[node],
            stats.waiting_bytes,
        );
        self.max("conclib_lease_held", &[node], stats.epoch.is_some().into());
        let epoch = usize::try_from(stats.epoch.unwrap_or_default());
        self.max("conclib_lease_epoch", &[node], epoch.unwrap_or(usize::MAX));
        self.count("conclib_lease_losses_total", &[node], stats.lease_losses);
        let is_up = proxy.state().is_connected();
        self.connection(node, is_up, stats.connection_losses);
    }

    /// The backlog of a node on the bus.
    fn backlog(&mut self, node: (&'static str, &str), backlog: &BacklogStats) {
        for (family, value) in [
            ("conclib_bus_inbox_length", backlog.inbox),
            ("conclib_durable_stored", backlog.stored),
            ("conclib_durable_delayed", backlog.delayed),
            ("conclib_dead_letters", backlog.dead_letters),
        ] {
            if let Some(value) = value {
                let value = usize::try_from(value).unwrap_or(usize::MAX);
                self.max(family, &[node], value);
            }
        }
        self.max_seconds("conclib_durable_oldest_seconds", &[node], backlog.oldest);
    }

    /// The families of a member of a fleet.
    fn fleet(&mut self, node: (&'static str, &str), fleet: &FleetStats) {
        self.members(node, fleet.members);
        for (place, names) in [
            ("listed", fleet.listed),
            ("shared", fleet.shared),
            ("standing_by", fleet.standing_by),
            ("pending", fleet.pending),
        ] {
            self.add("conclib_fleet_names", &[node, ("place", place)], names);
        }
        self.count("conclib_fleet_moves_total", &[node], fleet.moves);
        self.count("conclib_fleet_bounces_total", &[node], fleet.bounces);
    }

    fn members(&mut self, observer: (&'static str, &str), members: MemberCounts) {
        for (state, count) in [
            ("listing", members.listing),
            ("serving", members.serving),
            ("draining", members.draining),
            ("left", members.left),
        ] {
            let labels = [observer, ("state", state)];
            self.max("conclib_fleet_members", &labels, count);
        }
    }

    /// The families of a client.
    pub(super) fn client(&mut self, name: &str, client: &ProxyClient) {
        let (stats, name) = (client.stats(), ("client", name));
        for (kind, counts) in [
            ("ask", &stats.asks),
            ("tell", &stats.tells),
            ("durable", &stats.durable),
        ] {
            let labels = [name, ("kind", kind), ("status", "ok"), ("delivered", "")];
            self.count("conclib_client_requests_total", &labels, counts.ok);
            for error in &counts.errors {
                let labels = [
                    name,
                    ("kind", kind),
                    ("status", error.kind.as_str()),
                    ("delivered", error.delivered.as_str()),
                ];
                self.count("conclib_client_requests_total", &labels, error.count);
            }
        }
        for message in &stats.messages {
            self.message(name, message);
        }
        self.durations(
            "conclib_bus_round_trip_seconds",
            &[name],
            &stats.round_trips,
        );
        if let Some(members) = stats.members {
            self.members(name, members);
        }
        self.count("conclib_client_abandoned_total", &[name], stats.abandoned);
        self.count("conclib_client_retries_total", &[name], stats.retries);
        self.count("conclib_client_rerouted_total", &[name], stats.rerouted);
        self.count(
            "conclib_client_late_answers_total",
            &[name],
            stats.late_answers,
        );
        self.add("conclib_client_in_flight", &[name], stats.in_flight);
        self.add(
            "conclib_client_in_flight_bytes",
            &[name],
            stats.in_flight_bytes,
        );
        self.anomalies(name, &stats.anomalies);
        let is_up = client.state().is_connected();
        self.connection(name, is_up, stats.connection_losses);
    }

    /// The asks of one message.
    fn message(&mut self, client: (&'static str, &str), stats: &MessageStats) {
        let message = ("message", &*stats.message);
        let labels = [client, message, ("status", "ok"), ("delivered", "")];
        self.count("conclib_client_asks_total", &labels, stats.asks.ok);
        for error in &stats.asks.errors {
            let labels = [
                client,
                message,
                ("status", error.kind.as_str()),
                ("delivered", error.delivered.as_str()),
            ];
            self.count("conclib_client_asks_total", &labels, error.count);
        }
        let labels = [client, message];
        self.durations("conclib_client_ask_seconds", &labels, &stats.times);
    }

    fn anomalies(&mut self, owner: (&'static str, &str), anomalies: &[AnomalyCount]) {
        for kind in Anomaly::ALL {
            let anomaly = anomalies.iter().find(|anomaly| anomaly.kind == kind);
            let count = anomaly.map_or(0, |anomaly| anomaly.count);
            let labels = [owner, ("kind", kind.as_str())];
            self.count("conclib_bus_anomalies_total", &labels, count);
        }
    }

    fn connection(&mut self, owner: (&'static str, &str), is_up: bool, losses: u32) {
        self.max("conclib_connection_up", &[owner], is_up.into());
        self.count("conclib_connection_losses_total", &[owner], losses.into());
    }
}

/// The outcomes of requests, without their progress.
fn by_kind(counts: &OutcomeCounts) -> BTreeMap<&'static str, u64> {
    // That of an alert is there from the start.
    let mut by_kind = BTreeMap::from([("ok", counts.ok), (AskErrorKind::Overloaded.as_str(), 0)]);
    for error in &counts.errors {
        *by_kind.entry(error.kind.as_str()).or_default() += error.count;
    }
    by_kind
}
