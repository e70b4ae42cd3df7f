//! Durable messages: every case that does not need a real Redis runs on both buses.
#![cfg(unix)]

mod answers;
mod crashes;
mod dead_letters;
mod faults;
mod flow;
mod processes;
mod redis;

use std::future::Future;
use std::time::Duration;

use conclib::{ActorSystem, Backoff, Config, Proxy, ProxyClient, start_proxy};
use conclib_tests::actors::GateControl;
use conclib_tests::bus::Bus;
use conclib_tests::durable::open_shop;
use conclib_tests::for_each_bus;
use conclib_tests::{Log, TEST_TIMEOUT};
use tokio::time::timeout;

/// Short, so that a test reaches the next delivery of a message whose process has ended.
const VISIBILITY: Duration = Duration::from_millis(300);

/// The pause after a failed delivery, before a random part is taken off.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A bus on which messages are delivered three times.
fn config(bus: &Bus) -> Config {
    let config = bus.config.clone().visibility_timeout(VISIBILITY);
    let pauses = Backoff::starting_at(RETRY_PAUSE).up_to(RETRY_PAUSE);
    config.max_deliveries(3).retry_backoff(pauses)
}

/// An actor system with a shop.
struct Server {
    system: ActorSystem,
    proxy: Proxy,
    watch: GateControl,
}

impl Server {
    async fn start(config: &Config, log: &Log) -> Self {
        let system = ActorSystem::new();
        let watch = open_shop(&system, "shop", log).await;
        let proxy = start_proxy(&system, config).await.unwrap();
        Self {
            system,
            proxy,
            watch,
        }
    }

    async fn stop(self) {
        assert!(self.system.shutdown().await.is_clean());
    }
}

async fn connect(config: &Config) -> ProxyClient {
    ProxyClient::connect(config).await.unwrap()
}

async fn run<F: Future<Output = ()>>(bus: Bus, case: impl FnOnce(Config) -> F) {
    let played = timeout(TEST_TIMEOUT, case(config(&bus))).await;
    played.expect("it ends in time");
}

for_each_bus! {
    answers {
        told_before_anybody_serves
        durable_ask_is_answered
        plain_messages_can_be_made_durable
        same_key_is_handled_once
        same_key_at_the_same_time
        key_covers_one_message_of_one_actor
        key_with_other_contents_is_refused
        key_with_other_contents_is_refused_while_the_first_is_handled
        tell_with_the_key_of_another_is_a_dead_letter
        conflict_is_judged_by_the_first_message_of_a_key
        key_has_a_length
        ask_is_repeated_after_its_timeout
    }
    flow {
        ten_thousand_tells_are_handled_once_in_order
        full_mailbox_does_not_hold_up_other_actors
        long_handler_is_not_disturbed
        actor_that_comes_late
        stopping_proxy_gives_waiting_messages_back
        stopping_proxy_keeps_the_messages_that_it_handles
        repetition_waits_for_the_proxy_that_stops
        other_contents_are_refused_after_the_stopping_proxy_succeeded
        repetition_is_handled_after_the_stopping_proxy_failed
        too_many_messages_are_refused
    }
    dead_letters {
        message_that_fails_too_often_is_a_dead_letter
        hopeless_message_is_a_dead_letter_at_once
        actor_that_never_comes
        actor_that_failed_for_good
        response_that_is_too_large
        dead_are_replayed
        dead_are_deleted
    }
}
