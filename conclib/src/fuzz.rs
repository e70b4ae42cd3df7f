//! Fuzz targets for every reader of a peer's bytes or a user's texts. Their input is valid data with
//! flipped bits, missing ends, pieces of other inputs, and wrong lengths. No reader may panic, hang,
//! or allocate on the word of a length.
//!
//! Each target runs for 2 s, or for as long as `CONCLIB_FUZZ_SECONDS` says. `bolero` finds the
//! inputs: at random in `cargo test`, with the help of a fuzzer's engine under `cargo bolero`.

use std::time::Duration;

#[cfg(feature = "bus")]
mod bus;
#[cfg(feature = "bus")]
mod decoders;
pub(crate) mod mutate;
mod texts;

/// Time that each target runs.
pub(crate) fn time() -> Duration {
    let seconds = std::env::var("CONCLIB_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// A test that gives mutations of the seeds to a check, and prints their number.
macro_rules! target {
    ($name:ident, $seeds:expr, $check:expr) => {
        #[test]
        fn $name() {
            let seeds: Vec<Vec<u8>> = $seeds;
            let check = std::panic::AssertUnwindSafe($check);
            let cases = std::sync::atomic::AtomicU64::new(0);
            for seed in &seeds {
                check(seed.clone());
            }
            bolero::check!()
                .with_iterations(usize::MAX)
                .with_test_time($crate::fuzz::time())
                .for_each(|input: &[u8]| {
                    cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    check($crate::fuzz::mutate::mutate(&seeds, input));
                });
            println!("{}: {} cases", stringify!($name), cases.into_inner());
        }
    };
}
pub(crate) use target;
