//! The lines of a Redis as events under the target `conclib::redis`.

use std::process::ExitStatus;

use tracing::Level;

/// Beginnings of the lines of every start and end. Redis before 7.2 marks them as warnings.
const ROUTINE: [&str; 9] = [
    "oO0OoO0OoO0Oo",
    "Redis version=",
    "Configuration loaded",
    "Server initialized",
    "User requested shutdown",
    "Received SIGTERM",
    "Redis is now ready to exit",
    "Valkey version=",
    "Valkey is now ready to exit",
];

pub(super) fn line(line: &str) {
    let (level, text) = parse(line);
    match level {
        Level::TRACE => tracing::trace!(target: "conclib::redis", "{text}"),
        Level::DEBUG => tracing::debug!(target: "conclib::redis", "{text}"),
        Level::INFO => tracing::info!(target: "conclib::redis", "{text}"),
        _ => tracing::warn!(target: "conclib::redis", "{text}"),
    }
}

pub(super) fn ended(status: ExitStatus) {
    tracing::error!(target: "conclib::redis", "the Redis ended by itself ({status})");
}

/// `<pid>:<role> <day> <month> <year> <time> <marker> <text>`; other lines are logged as they are.
fn parse(line: &str) -> (Level, &str) {
    let mut words = line.splitn(7, ' ');
    let marker = words.nth(5).unwrap_or_default();
    let level = match marker {
        "." => Level::TRACE,
        "-" => Level::DEBUG,
        "*" => Level::INFO,
        "#" => Level::WARN,
        _ => return (Level::INFO, line),
    };
    let text = words.next().unwrap_or_default();
    let routine = ROUTINE.iter().any(|routine| text.starts_with(routine));
    (if routine { Level::DEBUG } else { level }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_is_the_level() {
        let line = |marker, text| format!("17:M 03 Feb 2025 10:00:00.123 {marker} {text}");
        for (marker, level) in [
            (".", Level::TRACE),
            ("-", Level::DEBUG),
            ("*", Level::INFO),
            ("#", Level::WARN),
        ] {
            assert_eq!(
                parse(&line(marker, "Ready to - go")),
                (level, "Ready to - go")
            );
        }
        let banner = line("#", "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
        assert_eq!(parse(&banner).0, Level::DEBUG);
    }

    #[test]
    fn line_of_another_form_is_logged_unchanged() {
        for line in [
            "",
            "*** FATAL CONFIG FILE ERROR ***",
            "one two three four five six # seven",
        ] {
            assert_eq!(parse(line), (Level::INFO, line));
        }
    }
}
