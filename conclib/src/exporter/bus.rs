//! The families of the bus.

use std::collections::BTreeMap;

use super::families::Families;
use crate::bus::{Proxy, ProxyClient};
use crate::error::AskErrorKind;
use crate::metrics::{Anomaly, AnomalyCount, OutcomeCounts};

impl Families {
    /// The families of a system's proxies; those of one node are the same series.
    pub(super) fn proxies(&mut self, proxies: impl Iterator<Item = Proxy>) {
        let mut by_node = BTreeMap::new();
        for proxy in proxies {
            by_node.insert(proxy.stats().node, proxy); // a former one has ended
        }
        for (node, proxy) in by_node {
            self.proxy(&node, &proxy);
        }
    }

    fn proxy(&mut self, node: &str, proxy: &Proxy) {
        let (stats, node) = (proxy.stats(), ("node", node));
        for (kind, count) in [("ask", stats.received_asks), ("tell", stats.received_tells)] {
            self.count("conclib_bus_requests_total", &[node, ("kind", kind)], count);
        }
        for (outcome, count) in by_kind(&stats.asks) {
            let labels = [node, ("outcome", outcome)];
            self.count("conclib_bus_answers_total", &labels, count);
        }
        self.count("conclib_bus_abandoned_total", &[node], stats.abandoned_asks);
        for kind in AskErrorKind::ALL {
            let of_kind = stats.lost_tells.iter().filter(|lost| lost.kind == kind);
            let labels = [node, ("error", kind.as_str())];
            let count = of_kind.map(|lost| lost.count).sum();
            self.count("conclib_bus_lost_tells_total", &labels, count);
        }
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
        self.set(
            "conclib_bus_undelivered_bytes",
            &[node],
            stats.waiting_bytes,
        );
        self.set("conclib_lease_held", &[node], stats.epoch.is_some().into());
        let epoch = usize::try_from(stats.epoch.unwrap_or_default());
        self.set("conclib_lease_epoch", &[node], epoch.unwrap_or(usize::MAX));
        self.count("conclib_lease_losses_total", &[node], stats.lease_losses);
        let is_up = proxy.state().is_connected();
        self.connection(node, is_up, stats.connection_losses);
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
                let delivered = format!("{:?}", error.delivered).to_lowercase();
                let labels = [
                    name,
                    ("kind", kind),
                    ("status", error.kind.as_str()),
                    ("delivered", &delivered),
                ];
                self.count("conclib_client_requests_total", &labels, error.count);
            }
        }
        self.count("conclib_client_abandoned_total", &[name], stats.abandoned);
        self.count("conclib_client_retries_total", &[name], stats.retries);
        self.count("conclib_client_rerouted_total", &[name], stats.rerouted);
        self.count(
            "conclib_client_late_answers_total",
            &[name],
            stats.late_answers,
        );
        self.set("conclib_client_in_flight", &[name], stats.in_flight);
        self.set(
            "conclib_client_in_flight_bytes",
            &[name],
            stats.in_flight_bytes,
        );
        self.anomalies(name, &stats.anomalies);
        let is_up = client.state().is_connected();
        self.connection(name, is_up, stats.connection_losses);
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
        self.set("conclib_connection_up", &[owner], is_up.into());
        self.count("conclib_connection_losses_total", &[owner], losses.into());
    }
}

/// The outcomes of requests, without their progress.
fn by_kind(counts: &OutcomeCounts) -> BTreeMap<&'static str, u64> {
    let mut by_kind = BTreeMap::from([("ok", counts.ok)]);
    for error in &counts.errors {
        *by_kind.entry(error.kind.as_str()).or_default() += error.count;
    }
    by_kind
}
