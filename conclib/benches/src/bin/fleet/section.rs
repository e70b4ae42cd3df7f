//! The table of a part.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::OnceLock;

use conclib_benches::report::{Machine, now, workspace};
use serde::Serialize;
use serde_json::Value;

/// A part's results.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    title: String,
    machine: Machine,
    /// Its start, in UTC.
    date: String,
    /// The commit of the tree that it was built from.
    commit: String,
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    /// The figures behind the table.
    samples: Vec<Value>,
}

impl Section {
    /// An empty table with these columns; the first one has names, the others figures.
    pub(crate) fn new(title: &str, heading: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            machine: Machine::here(),
            date: now(),
            commit: commit(),
            heading: heading.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
            samples: Vec::new(),
        }
    }

    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Keeps the figures behind the table.
    pub(crate) fn sample(&mut self, name: &str, sample: &impl Serialize) {
        eprintln!(
            "{name}: {}",
            serde_json::to_string(sample).unwrap_or_default()
        );
        self.samples
            .push(serde_json::json!({ "name": name, "sample": sample }));
    }

    /// A heading, the machine, the table and the notes.
    pub(crate) fn markdown(&self) -> String {
        let Self {
            machine,
            date,
            commit,
            ..
        } = self;
        let mut text = format!(
            "### {}\n\n{machine}. {date}. Commit {commit}.\n\n",
            self.title
        );
        line(&mut text, &self.heading);
        text.push_str("|---|");
        text.push_str(&"---:|".repeat(self.heading.len().saturating_sub(1)));
        text.push('\n');
        for row in &self.rows {
            line(&mut text, row);
        }
        for (number, note) in self.notes.iter().enumerate() {
            let gap = if number == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}- {note}");
        }
        text
    }
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// The commit of this tree at the start of the run, with a sign if the tree has other changes.
fn commit() -> String {
    static COMMIT: OnceLock<String> = OnceLock::new();
    COMMIT.get_or_init(read_commit).clone()
}

fn read_commit() -> String {
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        let output = command.args(words).current_dir(workspace()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}

/// A limit, and whether a value is within it.
pub(crate) fn verdict(holds: bool, limit: &str) -> String {
    let verdict = if holds { "holds" } else { "**missed**" };
    format!("{limit}: {verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_line_for_each_row() {
        let mut section = Section::new("Title", &["", "a", "b"]);
        section.row(["x", "1", "2"]);
        section.note("A note.");
        let text = section.markdown();
        assert!(text.starts_with("### Title\n\n"), "{text}");
        let table = "|  | a | b |\n|---|---:|---:|\n| x | 1 | 2 |\n\n- A note.\n";
        assert!(text.ends_with(table), "{text}");
    }
}
