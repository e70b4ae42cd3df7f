//! Processes that are inspected and operated from outside.
#![cfg(unix)]

mod actions;
mod actors;
mod measured;
mod members;
mod stuck;

use std::future::Future;

use conclib::inspect::{Audit, Inspector};
use conclib::prelude::*;
use conclib::{Proxy, Urn};
use conclib_tests::bus::Bus;

conclib_tests::for_each_bus! {
    actors {
        status_names_the_process
        actors_are_filtered_and_ordered
        pages_neither_repeat_nor_omit_actors
        types_are_summed
        one_actor_is_shown_whole
        tree_has_parents_before_children
        waits_are_shown
        failures_are_followed_by_their_numbers
        metrics_are_those_of_system_and_proxy
        absent_actor_is_refused_and_not_started
    }
    actions {
        actions_are_off_by_default
        actors_are_stopped_and_killed
        supervised_actor_is_restarted
        restart_of_an_unsupervised_actor_is_not_possible
        group_member_is_restarted_by_its_group
        actor_on_demand_ends_and_starts_again
        stuck_handler_is_interrupted
        drain_stops_the_node_in_good_order
        filter_of_the_log_is_changed_for_a_time
    }
    stuck {
        full_mailboxes_and_stuck_actors_are_inspected
        node_without_a_process_has_no_responder
    }
}

/// A process that is inspected.
pub(crate) struct Inspected {
    pub(crate) bus: Bus,
    pub(crate) system: ActorSystem,
    pub(crate) proxy: Proxy,
    pub(crate) inspector: Inspector,
}

impl Inspected {
    pub(crate) async fn with(bus: Bus, config: impl FnOnce(Config) -> Config) -> Self {
        let system = ActorSystem::new();
        let proxy = start_proxy(&system, &config(bus.config.clone())).await;
        let inspector = Inspector::connect(&bus.config).await.unwrap();
        Self {
            proxy: proxy.unwrap(),
            bus,
            system,
            inspector,
        }
    }
}

/// Runs a case with a bus of its own.
async fn run<F: Future<Output = ()>>(bus: Bus, case: impl FnOnce(Bus) -> F) {
    conclib_tests::within(case(bus)).await;
}

pub(crate) fn urn(text: &str) -> Urn {
    Urn::new(text).unwrap()
}

pub(crate) fn audit() -> Audit {
    Audit::new("ann", "a test")
}
