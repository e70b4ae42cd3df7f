//! The fields of an entry that tell its delivery: `p`, the pauses after failed deliveries, as
//! `1000..300000`, the first and the longest one in ms; `t`, the time before which it is not delivered,
//! in ms since the Unix epoch; and `n`, which its client sets to `1` when it sends the message again.

use std::time::Duration;

use fred::types::Value;

use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::{EntryOptions, MAX_RETRY_PAUSE};
use crate::time::backoff::Backoff;

/// The field of the pauses.
const RETRY: &str = "p";

/// The field of the due time.
const DUE: &str = "t";

/// The field of a repetition.
const REPETITION: &str = "n";

/// The fields of these options, to be written after those of the message.
pub(super) fn fields(options: EntryOptions) -> Vec<Value> {
    let mut fields = Vec::new();
    if let Some(retry) = options.retry {
        let (first, longest) = retry.bounds();
        let pauses = format!("{}..{}", first.as_millis(), longest.as_millis());
        fields.extend([RETRY.into(), pauses.into()]);
    }
    if let Some(ServerTime(due)) = options.due {
        fields.extend([DUE.into(), due.to_string().into()]);
    }
    if options.is_repetition {
        fields.extend([REPETITION.into(), "1".into()]);
    }
    fields
}

/// Reads the options; `take` removes a field. Pauses that cannot be read count as absent. A due time that
/// cannot be read never comes, which the consumer refuses.
pub(super) fn read(mut take: impl FnMut(&str) -> Option<String>) -> EntryOptions {
    EntryOptions {
        retry: take(RETRY).and_then(|pauses| read_pauses(&pauses)),
        due: take(DUE).map(|due| ServerTime(due.parse().unwrap_or(u64::MAX))),
        is_repetition: take(REPETITION).is_some(),
    }
}

fn read_pauses(pauses: &str) -> Option<Backoff> {
    let (first, longest) = pauses.split_once("..")?;
    let pause = |millis: &str| {
        let pause = Duration::from_millis(millis.parse().ok()?);
        Some(pause.min(MAX_RETRY_PAUSE))
    };
    Some(Backoff::starting_at(pause(first)?).up_to(pause(longest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(pauses: &str) -> Option<(Duration, Duration)> {
        let read = read(|field| (field == RETRY).then(|| pauses.to_owned()));
        read.retry.map(|retry| retry.bounds())
    }

    #[test]
    fn pauses_of_a_peer_are_bounded() {
        let seconds = Duration::from_secs;
        assert_eq!(retry("1000..300000"), Some((seconds(1), seconds(300))));
        assert_eq!(retry("0..0"), Some((seconds(0), seconds(0))));
        let most = (MAX_RETRY_PAUSE, MAX_RETRY_PAUSE);
        assert_eq!(retry("86400001..18446744073709551615"), Some(most));
        // The longest one is also the bound of the first.
        assert_eq!(retry("5000..1000"), Some((seconds(1), seconds(1))));
        for odd in ["", "1", "..", "1..", "-1..5", "1..18446744073709551616"] {
            assert_eq!(retry(odd), None, "{odd}");
        }
    }

    #[test]
    fn unreadable_due_time_never_comes() {
        let due = |text: &str| read(|field| (field == DUE).then(|| text.to_owned())).due;
        assert_eq!(due("1700000000000"), Some(ServerTime(1_700_000_000_000)));
        for odd in ["", "-1", "soon", "18446744073709551616"] {
            assert_eq!(due(odd), Some(ServerTime(u64::MAX)), "{odd}");
        }
    }

    #[test]
    fn absent_options_have_no_fields() {
        assert!(fields(EntryOptions::default()).is_empty());
        assert_eq!(read(|_| None), EntryOptions::default());
    }
}
