//! Moments of the calendar.

use std::time::{SystemTime, UNIX_EPOCH};

use conclib::prelude::*;
use conclib::schedule::{Schedule, Ticker};
use conclib_tests::messages::Beat;
use conclib_tests::{SECOND, TestResult};
use tokio::time::{Instant, sleep};

use super::{Clock, Flush};

/// Seconds since 1970 at the start of a test. From then on, the system's clock moves as
/// tokio's paused clock does.
fn calendar() -> Result<f64, Box<dyn std::error::Error>> {
    let paused_for = Instant::now().into_std().elapsed();
    let since = (SystemTime::now() - paused_for).duration_since(UNIX_EPOCH)?;
    Ok(since.as_secs_f64())
}

/// The marks of a clock that began at `began`, as multiples of `step` seconds.
fn multiples(clock: &Clock, began: f64, step: u32) -> Vec<i64> {
    let step = f64::from(step);
    let marks = clock.log.entries();
    let marks = marks.iter().filter_map(|mark| mark.parse::<f64>().ok());
    marks
        .map(|mark| {
            let at = began + mark / 1000.0;
            let nearest = (at / step).round();
            assert!((nearest * step - at).abs() < 2.0, "{at} is beside {step}");
            whole(nearest)
        })
        .collect()
}

#[allow(clippy::cast_possible_truncation, reason = "seconds since 1970")]
fn whole(number: f64) -> i64 {
    number as i64
}

/// Rings every ten seconds and every six hours.
#[derive(Actor)]
#[periodic(tick = Beat, cron = "*/10 * * * * *")]
#[periodic(tick = Flush(6), cron = "0 0 */6 * * *")]
struct Bell {
    often: Clock,
    seldom: Clock,
}

#[handlers]
impl Bell {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.often.mark();
    }

    #[handler]
    fn flush(&mut self, _: Flush) {
        self.seldom.mark();
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_of_the_calendar_come_at_their_moments() -> TestResult {
    let began = calendar()?;
    let (often, seldom) = (Clock::new(), Clock::new());
    let system = ActorSystem::new();
    let bell = Bell {
        often: often.clone(),
        seldom: seldom.clone(),
    };
    let _bell = system.spawn(bell).await?;
    sleep(24 * 3600 * SECOND).await;
    for (clock, step) in [(often, 10), (seldom, 6 * 3600)] {
        let seen = multiples(&clock, began, step);
        // The tick at the very end may still come, if the day ends with one.
        let of_a_day = 24 * 3600 / i64::from(step);
        assert!((of_a_day - 1..=of_a_day).contains(&seen.len().try_into()?));
        let first = whole((began / f64::from(step)).floor()) + 1;
        let expected: Vec<i64> = (first..).take(seen.len()).collect();
        assert_eq!(seen, expected);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ticker_skips_moments_of_the_calendar_that_pass_during_a_call() -> TestResult {
    let clock = Clock::new();
    let called = clock.clone();
    let schedule = Schedule::cron("* * * * *")?;
    let ticker = Ticker::every(schedule).name("clock").start(move || {
        let called = called.clone();
        async move {
            called.mark();
            if called.log.count() == 1 {
                sleep(150 * SECOND).await;
            }
        }
    });
    sleep(350 * SECOND).await;
    ticker.shutdown().await;
    let marks = clock.marks();
    let gaps: Vec<u64> = marks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // One late call, and then calls at whole minutes.
    for (gap, expected) in gaps[..3].iter().zip([150_000, 30_000, 60_000]) {
        assert!(gap.abs_diff(expected) < 2000, "{marks:?}");
    }
    Ok(())
}
