//! Answers about the process: its state, its failures and its counters.

use tokio::time::Instant;

use crate::bus::inspect::member::bound::cut_page;
use crate::bus::inspect::member::lists::FRESH;
use crate::bus::inspect::member::{Answers, InspectedMember};
use crate::bus::inspect::message::{
    FailurePage, FailuresQuery, LogQuery, LogState, MAX_PAGE, MemberConfig, MemberMetrics,
    MemberStatus, MetricsQuery, Refusal, StatusQuery, VERSION,
};
use crate::system::metrics::SystemMetrics;

impl Answers<StatusQuery> for InspectedMember {
    async fn answer(&mut self, _: StatusQuery) -> Result<MemberStatus, Refusal> {
        let core = self.core()?;
        let (shared, config) = (&self.shared, &self.shared.config);
        Ok(MemberStatus {
            version: VERSION,
            conclib: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            namespace: config.namespace.clone(),
            node: shared.node.clone(),
            instance: config.instance.clone(),
            epoch: shared.epoch().map(|epoch| epoch.0),
            lease_left: shared.lease_left(),
            is_serving: shared.is_serving(),
            in_fleet: shared.fleet.is_some(),
            connection: shared.health.state().to_string(),
            uptime: self.begun.elapsed(),
            actors: core.registry.len(),
            allows_admin: config.operators.allows_admin,
            config: MemberConfig {
                lease_duration: config.lease_duration,
                max_message_size: config.max_message_size,
                max_stream_len: config.max_stream_len,
                visibility_timeout: config.visibility_timeout,
                missing_timeout: config.missing_timeout,
                max_deliveries: config.max_deliveries,
                result_ttl: config.result_ttl,
                exposes_failures: config.exposes_failures,
            },
            stats: shared.stats(),
        })
    }
}

impl Answers<FailuresQuery> for InspectedMember {
    async fn answer(&mut self, query: FailuresQuery) -> Result<FailurePage, Refusal> {
        let failures = self.core()?.failures();
        let oldest = failures.first().map_or(0, |failure| failure.number);
        let newest = failures.last().map_or(0, |failure| failure.number + 1);
        // A number that was not reached yet is that of an earlier process: all failures are news.
        let since = if query.since > newest { 0 } else { query.since };
        let wanted = failures
            .into_iter()
            .filter(|failure| failure.number >= since);
        let mut failures: Vec<_> = wanted.collect();
        let (limit, max_bytes) = (query.limit.clamp(1, MAX_PAGE), self.max_page_bytes());
        self.share
            .measure(|| cut_page(&mut failures, limit, max_bytes));
        Ok(FailurePage {
            next: failures.last().map_or(newest, |failure| failure.number + 1),
            lost: oldest.saturating_sub(since),
            failures,
        })
    }
}

impl Answers<MetricsQuery> for InspectedMember {
    async fn answer(&mut self, _: MetricsQuery) -> Result<MemberMetrics, Refusal> {
        let core = self.core()?;
        let now = Instant::now();
        let cached = self.metrics.take();
        let cached = cached.filter(|(read, _)| now.duration_since(*read) <= FRESH);
        let (read, mut system) = if let Some(cached) = cached {
            cached
        } else {
            let actors = core.registry.len();
            let read = move || SystemMetrics::read(&core);
            (now, self.share.measure_many(actors, read).await?)
        };
        self.metrics = Some((read, system.clone()));
        // More than a page: an exporter needs all types, and there are no further pages of them.
        let (types, max_bytes) = (&mut system.types, self.max_answer_bytes());
        let cut = || cut_page(types, MAX_PAGE, max_bytes);
        let omitted_types = self.share.measure(cut);
        Ok(MemberMetrics {
            system,
            omitted_types,
            proxy: self.shared.stats(),
            age: now.saturating_duration_since(read),
        })
    }
}

impl Answers<LogQuery> for InspectedMember {
    async fn answer(&mut self, _: LogQuery) -> Result<LogState, Refusal> {
        Ok(self.log.state())
    }
}
