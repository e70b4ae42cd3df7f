//! Tickers without an actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conclib::schedule::{First, Missed, Ticker};
use conclib_tests::{Log, LogsDrop, MS, SECOND, within};
use tokio::time::sleep;

use super::Clock;

/// The start times of a ticker's calls, the second of which takes 3.5 intervals.
async fn calls_with_a_slow_one(missed: Missed) -> Vec<u64> {
    let clock = Clock::new();
    let called = clock.clone();
    let ticker = Ticker::every(SECOND).missed(missed).start(move || {
        let called = called.clone();
        async move {
            called.mark();
            if called.log.count() == 2 {
                sleep(3500 * MS).await;
            }
        }
    });
    sleep(6900 * MS).await;
    ticker.shutdown().await;
    clock.marks()
}

#[tokio::test(start_paused = true)]
async fn missed_calls_are_skipped_caught_up_or_delayed() {
    let skip = calls_with_a_slow_one(Missed::Skip).await;
    assert_eq!(skip, [0, 1000, 4500, 5000, 6000]);
    let burst = calls_with_a_slow_one(Missed::Burst).await;
    assert_eq!(burst, [0, 1000, 4500, 4500, 4500, 5000, 6000]);
    let delay = calls_with_a_slow_one(Missed::Delay).await;
    assert_eq!(delay, [0, 1000, 4500, 5500, 6500]);
}

#[tokio::test(start_paused = true)]
async fn ticker_does_not_drift() {
    let clock = Clock::new();
    let called = clock.clone();
    let ticker = Ticker::every(SECOND).first(First::After).start(move || {
        let called = called.clone();
        async move {
            called.mark();
            sleep(300 * MS).await;
        }
    });
    sleep(100 * SECOND + 500 * MS).await;
    ticker.shutdown().await;
    let on_time: Vec<u64> = (1..=100).map(|n| n * 1000).collect();
    assert_eq!(clock.marks(), on_time);
}

#[tokio::test(start_paused = true)]
async fn jitter_delays_within_its_bounds() {
    let clock = Clock::new();
    let called = clock.clone();
    let ticker = Ticker::every(SECOND).jitter(SECOND / 2).start(move || {
        called.mark();
        async {}
    });
    sleep(99 * SECOND + 900 * MS).await;
    ticker.shutdown().await;
    let late: Vec<u64> = clock
        .marks()
        .iter()
        .zip(0..)
        .map(|(at, n)| at - n * 1000)
        .collect();
    assert_eq!(late.len(), 100);
    assert!(late.iter().all(|late| *late <= 501), "{late:?}"); // timers are exact to 1 ms
    assert!(late.iter().any(|late| *late > 0), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_the_call_under_way() {
    let log = Log::default();
    let called = log.clone();
    let ticker = Ticker::every(SECOND).name("slow").start(move || {
        let called = called.clone();
        async move {
            called.add("began");
            sleep(10 * SECOND).await;
            called.add("ended");
        }
    });
    assert_eq!(ticker.name(), "slow");
    sleep(SECOND).await;
    assert!(!ticker.is_stopped());
    within(ticker.shutdown()).await;
    sleep(20 * SECOND).await;
    assert_eq!(log.entries(), ["began", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_ticker_that_cannot_keep_up() {
    let ticker = Ticker::every(MS)
        .missed(Missed::Burst)
        .start(|| sleep(SECOND));
    sleep(5 * SECOND).await;
    within(ticker.shutdown()).await;
}

#[tokio::test(start_paused = true)]
async fn drop_ends_the_call_under_way_at_its_next_await() {
    let log = Log::default();
    let called = log.clone();
    let ticker = Ticker::every(SECOND).start(move || {
        let held = LogsDrop(called.clone(), "dropped");
        async move {
            held.0.add("began");
            sleep(10 * SECOND).await;
            held.0.add("ended");
        }
    });
    sleep(SECOND).await;
    drop(ticker);
    sleep(20 * SECOND).await;
    assert_eq!(log.entries(), ["began", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn no_call_begins_after_a_stop_or_a_drop() {
    for dropped in [true, false] {
        let clock = Clock::new();
        let called = clock.clone();
        let ticker = Ticker::every(SECOND).first(First::After).start(move || {
            called.mark();
            async {}
        });
        sleep(SECOND).await; // now a call is due
        let before = clock.log.count();
        if dropped {
            drop(ticker);
        } else {
            within(ticker.shutdown()).await;
        }
        sleep(SECOND).await;
        assert_eq!(clock.log.count(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_call_does_not_end_the_ticker() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let ticker = Ticker::every(SECOND).start(move || {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        assert!(n != 1, "before there is a future");
        async move {
            tokio::task::yield_now().await;
            assert!(n != 3, "in the future");
        }
    });
    sleep(5500 * MS).await;
    assert!(!ticker.is_stopped());
    ticker.shutdown().await;
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[test]
#[should_panic(expected = "longer than 0")]
fn zero_interval_panics() {
    drop(Ticker::every(Duration::ZERO));
}
