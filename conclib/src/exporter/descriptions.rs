//! The names and texts of all families.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes all families to the recorder.
pub(super) fn describe() {
    for (family, text) in COUNTERS {
        describe_counter!(*family, Unit::Count, *text);
    }
    for (family, unit, text) in GAUGES {
        describe_gauge!(*family, *unit, *text);
    }
    for (family, text) in HISTOGRAMS {
        describe_histogram!(*family, Unit::Seconds, *text);
    }
}

/// The families of counters.
const COUNTERS: &[(&str, &str)] = &[
    (
        "conclib_actor_handled_total",
        "Messages and ticks that were handled without a failure",
    ),
    ("conclib_handler_messages_total", "Messages by handler"),
    ("conclib_actor_failures_total", "Failures of actors"),
    ("conclib_actor_restarts_total", "Restarts of actors"),
    ("conclib_actor_stopped_total", "Actors that have ended"),
    (
        "conclib_actor_lost_total",
        "Messages that no handler has begun",
    ),
    (
        "conclib_bus_requests_total",
        "Requests that came from the bus",
    ),
    (
        "conclib_bus_answers_total",
        "Asks from the bus, by the outcome that was sent",
    ),
    (
        "conclib_bus_unread_total",
        "Requests that were refused unread",
    ),
    (
        "conclib_bus_abandoned_total",
        "Asks from the bus whose callers had given up",
    ),
    (
        "conclib_bus_lost_tells_total",
        "Tells from the bus that no handler has begun",
    ),
    (
        "conclib_bus_anomalies_total",
        "Input from the bus that could not be used, and output that it did not take",
    ),
    (
        "conclib_bus_reads_total",
        "Reads from the bus that have brought requests",
    ),
    (
        "conclib_durable_ended_total",
        "Durable messages that have ended",
    ),
    (
        "conclib_durable_failed_deliveries_total",
        "Deliveries of durable messages that have failed, and are repeated",
    ),
    ("conclib_lease_losses_total", "Leases that were lost"),
    (
        "conclib_connection_losses_total",
        "Connections to the bus that were lost",
    ),
    (
        "conclib_client_requests_total",
        "Requests of the client that have ended",
    ),
    (
        "conclib_client_asks_total",
        "Asks of the client that have ended, by message",
    ),
    (
        "conclib_client_abandoned_total",
        "Requests whose callers stopped waiting",
    ),
    ("conclib_client_retries_total", "Repetitions of requests"),
    (
        "conclib_client_rerouted_total",
        "Requests that went on to another member of the fleet",
    ),
    (
        "conclib_client_late_answers_total",
        "Answers that came after their requests had ended",
    ),
    (
        "conclib_topic_dropped_total",
        "Copies of messages for which subscribers had no room",
    ),
    (
        "conclib_fleet_moves_total",
        "Names that the member has taken over from others",
    ),
    (
        "conclib_fleet_bounces_total",
        "Requests for names of other members",
    ),
];

/// The families of gauges.
const GAUGES: &[(&str, Unit, &str)] = &[
    ("conclib_actors", Unit::Count, "Living actors"),
    (
        "conclib_mailbox_messages",
        Unit::Count,
        "Messages in all mailboxes",
    ),
    (
        "conclib_mailbox_messages_max",
        Unit::Count,
        "Messages in the fullest mailbox",
    ),
    (
        "conclib_mailbox_senders_waiting",
        Unit::Count,
        "Senders that wait for room in a mailbox",
    ),
    (
        "conclib_mailbox_oldest_seconds_max",
        Unit::Seconds,
        "Age of the oldest message in a mailbox",
    ),
    (
        "conclib_handler_running_seconds_max",
        Unit::Seconds,
        "Time for which the slowest handler has run",
    ),
    (
        "conclib_bus_undelivered_bytes",
        Unit::Bytes,
        "Size of the requests that wait in mailboxes",
    ),
    (
        "conclib_lease_held",
        Unit::Count,
        "1 while the system has the lease of its node",
    ),
    (
        "conclib_lease_epoch",
        Unit::Count,
        "The number of the lease; 0 for none",
    ),
    (
        "conclib_connection_up",
        Unit::Count,
        "1 while the bus is connected",
    ),
    (
        "conclib_client_in_flight",
        Unit::Count,
        "Requests that are under way",
    ),
    (
        "conclib_client_in_flight_bytes",
        Unit::Bytes,
        "Size of the requests that are under way",
    ),
    (
        "conclib_bus_inbox_length",
        Unit::Count,
        "Requests that the proxy has not taken off the bus yet",
    ),
    (
        "conclib_durable_stored",
        Unit::Count,
        "Durable messages that are stored",
    ),
    (
        "conclib_durable_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest durable message",
    ),
    (
        "conclib_durable_in_flight",
        Unit::Count,
        "Durable messages that are with their actors, or next",
    ),
    (
        "conclib_durable_deferred",
        Unit::Count,
        "Durable messages that wait for room, for their actor or for a retry",
    ),
    (
        "conclib_durable_delayed",
        Unit::Count,
        "Durable messages that wait for their due times",
    ),
    ("conclib_dead_letters", Unit::Count, "Dead letters"),
    ("conclib_fleet_members", Unit::Count, "Members of the fleet"),
    (
        "conclib_fleet_names",
        Unit::Count,
        "Names of the member's actors",
    ),
];

/// The families of histograms.
const HISTOGRAMS: &[(&str, &str)] = &[
    (
        "conclib_bus_queue_seconds",
        "Time of messages from the bus until their handlers",
    ),
    (
        "conclib_handler_seconds",
        "Time of messages in their handlers",
    ),
    (
        "conclib_bus_round_trip_seconds",
        "Time of commands to the bus",
    ),
    (
        "conclib_client_ask_seconds",
        "Time of asks until their callers have the outcome",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn families_are_named_as_prometheus_has_it() {
        let counters = COUNTERS.iter().map(|(family, text)| (family, text, true));
        let histograms = HISTOGRAMS
            .iter()
            .map(|(family, text)| (family, text, false));
        let gauges = GAUGES.iter().map(|(family, _, text)| (family, text, false));
        let mut names = HashSet::new();
        for (family, text, is_counter) in counters.chain(gauges).chain(histograms) {
            assert!(names.insert(*family), "{family} is there twice");
            assert!(family.starts_with("conclib_"), "{family}");
            assert_eq!(family.ends_with("_total"), is_counter, "{family}");
            assert!(!text.ends_with('.'), "{text}");
        }
        for (family, _) in HISTOGRAMS {
            assert!(family.ends_with("_seconds"), "{family}");
        }
        // The page has these families, and no others.
        let page = include_str!("../../docs/metrics.md");
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let words = page.split(|c| !is_name(c));
        let on_page: HashSet<_> = words.filter(|word| word.starts_with("conclib_")).collect();
        assert_eq!(on_page, names);
    }
}
