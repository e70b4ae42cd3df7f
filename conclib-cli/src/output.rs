//! The output: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, SystemTime};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use ratatui::crossterm::terminal;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::value::json_line;

/// The form of the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of tables.
    pub(crate) json: bool,
    /// Colours on standard output.
    color: bool,
}

/// The weight of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Ok,
    Warn,
    Error,
}

impl Level {
    fn word(self) -> (&'static str, u8) {
        match self {
            Self::Ok => ("ok", 32),
            Self::Warn => ("warn", 33),
            Self::Error => ("error", 31),
        }
    }
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let color = !json && io::stdout().is_terminal() && !has_no_color();
        Self { json, color }
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let line = json_line(value)
            .map_err(|error| Failure::new(Exit::Failed, "output", error.to_string()))?;
        self.line(&line)
    }

    /// Prints a line, or several.
    #[expect(clippy::unused_self, reason = "all output goes through it")]
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        match written {
            // The reader, such as `head`, has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Failure::silent(Exit::Ok, "broken_pipe"))
            }
            written => written.map_err(|error| {
                Failure::new(Exit::Failed, "output", format!("cannot write: {error}"))
            }),
        }
    }

    /// Prints a table, cut to the width of the terminal.
    pub(crate) fn table(self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if rows.is_empty() {
            self.note_to_people("none: in a pattern, * stands for any text");
        }
        let mut table = Table::new();
        table
            .load_preset(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(header)
            .add_rows(
                rows.into_iter()
                    .map(|row| row.into_iter().map(|cell| printable(&cell))),
            );
        if io::stdout().is_terminal()
            && let Ok((columns @ 1.., _)) = terminal::size()
        {
            table.set_width(columns);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(&table.trim_fmt())
    }

    /// Says something beside the output, to standard error: with JSON as an object, whose kind is a stable name.
    pub(crate) fn note(self, kind: &str, text: &str) {
        #[derive(Serialize)]
        struct Note<'a> {
            note: &'a str,
            text: &'a str,
        }
        if self.json {
            let note = Note { note: kind, text };
            say(&json_line(&note).unwrap_or_default());
        } else {
            say(&printable(text));
        }
    }

    /// Says something to people that JSON has in its output.
    pub(crate) fn note_to_people(self, text: &str) {
        if !self.json {
            say(&printable(text));
        }
    }

    /// A word in the colour of its level.
    pub(crate) fn level(self, level: Level) -> String {
        let (word, color) = level.word();
        if self.color {
            format!("\x1b[{color}m{word:<5}\x1b[0m")
        } else {
            format!("{word:<5}")
        }
    }

    /// Prints an error, to standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        if failure.text.is_empty() {
            return;
        }
        let text = if self.json {
            json_line(failure).unwrap_or_default()
        } else {
            let colored = io::stderr().is_terminal() && !has_no_color();
            let word = if colored {
                "\x1b[31merror:\x1b[0m"
            } else {
                "error:"
            };
            format!("{word} {}", printable(&failure.to_string()))
        };
        say(&text);
    }
}

/// Says something to the user, on standard error: without it, the command still does its work.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// True if the environment asks for no colours: <https://no-color.org>.
pub(crate) fn has_no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// A text of a peer without characters that control the terminal.
pub(crate) fn printable(text: &str) -> String {
    let is_control = |c: char| c.is_control() && c != '\n';
    text.chars()
        .map(|c| if is_control(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A short duration, of two units at most: `1.2ms`, `3m 20s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0 if duration < Duration::from_millis(1) => format!("{}us", duration.as_micros()),
        0 => format!("{:.1}ms", duration.as_secs_f64() * 1000.0),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// The time since then; zero if it is ahead of this process' clock.
pub(crate) fn age(since: SystemTime) -> Duration {
    SystemTime::now().duration_since(since).unwrap_or_default()
}

/// A number of bytes with a unit.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.iter().find(|(_, size)| bytes >= *size);
    #[expect(clippy::cast_precision_loss, reason = "rounded to a tenth")]
    unit.map_or(format!("{bytes} B"), |(name, size)| {
        format!("{:.1} {name}", bytes as f64 / *size as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let text = |millis| duration(Duration::from_millis(millis));
        let texts = [0, 1, 1234, 61_000, 3_661_000, 90_000_000].map(text);
        assert_eq!(texts, ["0us", "1.0ms", "1.2s", "1m 1s", "1h 1m", "1d 1h"]);
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!([5, 2048, 3 << 30].map(bytes), ["5 B", "2.0 KiB", "3.0 GiB"]);
    }

    #[test]
    fn texts_of_peers_do_not_control_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\r\nc"), "a\u{fffd}[31mb\u{fffd}\nc");
    }
}
