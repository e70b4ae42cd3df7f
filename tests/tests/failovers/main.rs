//! Redis is replaced by another one while its connections stay open.
#![cfg(unix)]

mod pair;
mod replaced;
mod sentinels;

use std::time::{Duration, Instant};

use conclib::prelude::*;
use conclib_tests::eventually;
use conclib_tests::messages::Double;

/// Time for plain and durable asks to be answered again once the new server takes writes and the old
/// one is known to be wrong.
const RECOVERY: Duration = Duration::from_secs(3);

/// Waits until plain and durable asks are answered, in time after that moment; returns the time passed.
async fn answered(client: &ProxyClient, since: Instant) -> Duration {
    for is_durable in [false, true] {
        eventually("an ask is answered", async || {
            let ask = client.ask("worker", Double { n: 21 });
            let ask = if is_durable { ask.durable() } else { ask };
            ask.await == Ok(42)
        })
        .await;
    }
    let passed = since.elapsed();
    assert!(passed < RECOVERY, "after {passed:?}");
    passed
}

/// How often each case is tried, unless `CONCLIB_FAILOVERS` says more.
fn rounds(least: u32) -> u32 {
    let rounds = std::env::var("CONCLIB_FAILOVERS").ok();
    rounds.map_or(least, |rounds| rounds.parse().unwrap())
}
