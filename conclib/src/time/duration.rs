//! Durations as people write them: `500ms`, `1h 30min`.
//!
//! conclib and its macros have a copy each, since a proc-macro crate exports only macros. A test compares
//! the two.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;
const DAY: u128 = 24 * 60 * 60 * SECOND;

/// Nanoseconds of each unit. A month is 30.44 days, a year 365.25.
const UNITS: [(&[&str], u128); 10] = [
    (&["ns", "nsec", "nanos"], 1),
    (&["us", "usec", "µs"], 1_000),
    (&["ms", "msec", "millis"], 1_000_000),
    (&["s", "sec", "secs", "second", "seconds"], SECOND),
    (&["m", "min", "mins", "minute", "minutes"], 60 * SECOND),
    (&["h", "hr", "hrs", "hour", "hours"], 60 * 60 * SECOND),
    (&["d", "day", "days"], DAY),
    (&["w", "wk", "wks", "week", "weeks"], 7 * DAY),
    (&["M", "month", "months"], 2_630_016 * SECOND),
    (&["y", "yr", "yrs", "year", "years"], 31_557_600 * SECOND),
];

/// Reads a duration: numbers with units, such as `1h 30min` or `2.5s`, which are added up. The error
/// is the problem in words.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let position = |rest: &str| text.len() - rest.len();
    let invalid_at = |rest: &str| Err(format!("invalid character at {}", position(rest)));
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Err("value was empty".to_owned());
    }
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("expected number at {}", position(rest)));
        }
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        let next = after.trim_start();
        let ends = next.len() < after.len() || next.starts_with(|c: char| c.is_ascii_digit());
        if !next.is_empty() && !ends {
            return invalid_at(after);
        }
        nanos = nanos
            .checked_add(nanos_of(number, unit)?)
            .ok_or_else(too_large)?;
        rest = next;
    }
    let seconds = u64::try_from(nanos / SECOND).map_err(|_| too_large())?;
    // Less than a second.
    let nanos = u32::try_from(nanos % SECOND).map_err(|_| too_large())?;
    Ok(Duration::new(seconds, nanos))
}

/// Splits a text after its longest beginning of such characters.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn nanos_of(number: &str, unit: &str) -> Result<u128, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.contains('.') {
        return Err(format!("`{number}` is not a number"));
    }
    let of_unit = UNITS.iter().find(|(names, _)| names.contains(&unit));
    let Some((_, of_unit)) = of_unit else {
        return Err(match unit {
            "" => format!("time unit needed, for example {number}sec or {number}ms"),
            _ => format!(
                "unknown time unit {unit:?}, supported units: ns, us/µs, ms, sec, min, hours, days, \
                 weeks, months, years (and few variations)"
            ),
        });
    };
    let fraction = fraction.trim_end_matches('0');
    // Digits beyond these mean less than a nanosecond, or overflow.
    let digits = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let scale = 10_u128.checked_pow(digits).ok_or_else(too_large)?;
    let scaled: u128 = [whole, fraction]
        .concat()
        .parse()
        .map_err(|_| too_large())?;
    let nanos = scaled.checked_mul(*of_unit).ok_or_else(too_large)?;
    if nanos % scale != 0 {
        return Err(too_large());
    }
    Ok(nanos / scale)
}

fn too_large() -> String {
    "number is too large or cannot be represented without a lack of precision (values below 1ns are \
     not supported)"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_copies_are_the_same() {
        let read = |path: &str| {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
            std::fs::read_to_string(format!("{root}{path}"))
        };
        // A package that is tested on its own has one of them.
        let copies = (
            read("conclib/src/time/duration.rs"),
            read("conclib-macros/src/duration.rs"),
        );
        if let (Ok(own), Ok(other)) = copies {
            assert_eq!(own, other);
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("0s", 0.0),
            ("500ms", 0.5),
            ("  1m 30s ", 90.0),
            ("1h 30min", 5400.0),
            ("1h30min", 5400.0),
            ("2.5s", 2.5),
            ("1.50 hours", 5400.0),
            ("3 days", 259_200.0),
            ("1week 1d", 691_200.0),
            ("250µs 250us", 0.0005),
            ("1M", 2_630_016.0),
            ("2years", 63_115_200.0),
        ] {
            let read = parse_duration(text).unwrap();
            assert_eq!(read, Duration::from_secs_f64(seconds), "{text}");
        }
        assert_eq!(parse_duration("1ns"), Ok(Duration::from_nanos(1)));
        assert_eq!(
            parse_duration("18446744073709551615s 999999999ns"),
            Ok(Duration::MAX)
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, problem) in [
            ("", "value was empty"),
            (" ", "value was empty"),
            ("often", "expected number at 0"),
            ("-5s", "expected number at 0"),
            ("1s and", "expected number at 3"),
            ("1s-", "invalid character at 2"),
            ("5", "time unit needed, for example 5sec or 5ms"),
            ("5 6s", "time unit needed, for example 5sec or 5ms"),
            ("1.s", "`1.` is not a number"),
            ("1.2.3s", "`1.2.3` is not a number"),
            ("0.5ns", "number is too large"),
            ("18446744073709551616s", "number is too large"),
            (
                "9999999999999999999999999999999999999999y",
                "number is too large",
            ),
            (
                "1.00000000000000000000000000000000000000000000001y",
                "number is too large",
            ),
            (
                "5 parsecs",
                "unknown time unit \"parsecs\", supported units",
            ),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
    }
}
