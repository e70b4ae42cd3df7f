//! Asking actors through a bus: every case runs on each bus there is.
#![cfg(unix)]

mod answers;
mod bounds;
mod cancels;
mod endings;
mod refusals;

use std::future::Future;

use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::for_each_bus;
use conclib_tests::within;

/// Runs a case on a fixture of its own, and within a bound.
async fn run<F: Future<Output = ()>>(bus: Bus, case: impl FnOnce(BusFixture) -> F) {
    let played = async { case(bus.fixture().await).await };
    within(played).await;
}

for_each_bus! {
    answers {
        an_ask_is_answered
        a_tell_arrives
        many_callers_share_a_client
        a_business_error_is_an_answer
        a_reply_may_come_late
        attributes_arrive
        a_raw_handler_takes_what_comes
        tells_of_one_client_arrive_in_order
        clients_do_not_hear_each_others_answers
    }
    refusals {
        nobody_lives_at_the_urn
        a_urn_that_is_none
        the_actor_has_no_handler
        a_message_of_another_shape
        a_response_of_another_shape
        a_local_message_cannot_be_reached
        a_request_is_too_large
        attributes_count_as_size
        attributes_are_too_many
        a_private_actor_is_not_found
        a_response_is_too_large
        a_mailbox_is_full
        a_handler_panics
        a_handler_lets_the_reply_go
        an_actor_stops
    }
    endings {
        a_handler_never_answers
        each_ask_has_its_own_timeout
        no_time_means_not_sent
        no_actor_system_is_known_at_once
        a_client_is_shut_down
        the_last_clone_of_a_client_is_dropped
        a_dropped_ask_gives_its_place_back
        an_expired_request_is_not_executed
        a_system_is_shut_down_under_load
        a_system_is_dropped
        a_proxy_is_shut_down_alone
        who_asks_for_a_shutdown_is_answered
    }
    cancels {
        a_handler_hears_that_its_asker_has_gone
        a_handler_hears_that_its_deadline_has_passed
        a_tell_is_never_cancelled
        a_cancelled_request_that_waits_is_not_executed
        a_cancel_of_what_has_ended_does_nothing
        a_chain_over_two_buses_ends_by_the_first_deadline
    }
    bounds {
        ten_thousand_asks_at_once
        ten_thousand_asks_and_a_small_mailbox
        a_client_has_a_bound
        a_text_of_a_peer_does_not_come_back_whole
        deep_nesting_harms_nobody
        large_requests_and_responses
    }
}
