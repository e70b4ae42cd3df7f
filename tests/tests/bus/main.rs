//! Asks over a bus: every case runs on the bus in memory and on Redis.
#![cfg(unix)]

mod answers;
mod bounds;
mod cancels;
mod endings;
mod named;
mod refusals;

use std::future::Future;

use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::for_each_bus;
use conclib_tests::within;

/// Runs a case with a fixture of its own.
async fn run<F: Future<Output = ()>>(bus: Bus, case: impl FnOnce(BusFixture) -> F) {
    let played = async { case(bus.fixture().await).await };
    within(played).await;
}

for_each_bus! {
    answers {
        ask_is_answered
        tell_arrives
        many_callers_share_a_client
        business_error_is_an_answer
        reply_may_come_late
        attributes_arrive
        raw_handler_takes_every_message
        tells_of_one_client_arrive_in_order
        clients_do_not_receive_answers_of_other_clients
    }
    named {
        message_is_known_by_its_name
        wrong_names_and_shapes_are_told
        durable_message_by_its_name_is_handled_once
        ping_is_answered_before_any_handler
        ping_waits_for_its_turn
    }
    refusals {
        unknown_urn_is_actor_not_found
        urn_that_is_none
        actor_has_no_handler
        message_of_another_shape
        response_of_another_shape
        local_message_cannot_be_reached
        request_is_too_large
        attributes_count_as_size
        attributes_are_too_many
        private_actor_is_not_found
        response_is_too_large
        mailbox_is_full
        handler_panics
        handler_lets_the_reply_go
        actor_stops
    }
    endings {
        handler_never_answers
        each_ask_has_its_own_timeout
        no_time_means_not_sent
        no_actor_system_is_known_at_once
        client_is_shut_down
        last_clone_of_a_client_is_dropped
        dropped_ask_frees_its_slot
        expired_request_is_not_executed
        system_is_shut_down_under_load
        system_is_dropped
        proxy_is_shut_down_alone
        ask_that_shuts_the_system_down_is_answered
    }
    cancels {
        handler_is_cancelled_when_its_asker_is_dropped
        handler_is_cancelled_at_its_deadline
        tell_is_never_cancelled
        cancelled_request_that_waits_is_not_executed
        cancel_of_an_ended_request_does_nothing
        chain_over_two_buses_ends_by_the_first_deadline
    }
    bounds {
        ten_thousand_asks_at_once
        ten_thousand_asks_and_a_small_mailbox
        client_has_a_bound
        text_of_a_peer_does_not_come_back_whole
        deep_nesting_does_no_harm
        large_requests_and_responses
    }
}
