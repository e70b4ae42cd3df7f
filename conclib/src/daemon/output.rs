//! The output of a process: every line is logged, and the last ones are kept for error messages.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Number of lines kept.
const KEPT_LINES: usize = 20;

/// Longer lines are cut into pieces of this many bytes, so that a process that never ends its
/// line cannot fill the memory.
const LONGEST_LINE: u64 = 4096;

/// The last lines that a process wrote, at most 20, for error messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLines(Vec<String>);

impl LastLines {
    /// The lines, oldest first.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for LastLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it wrote nothing");
        }
        f.write_str("its last lines:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// The last lines of a process, shared by the readers of its two outputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    pub(super) fn snapshot(&self) -> LastLines {
        let lines = self.0.lock();
        LastLines(lines.iter().cloned().collect())
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock();
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// Passes every line of `source` to `log`, until the last process with its writing end closes it.
pub(super) async fn forward(source: Option<impl AsyncRead + Unpin>, log: fn(&str), tail: Tail) {
    let Some(source) = source else { return };
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut piece = (&mut source).take(LONGEST_LINE);
        if !matches!(piece.read_until(b'\n', &mut line).await, Ok(length) if length > 0) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            tail.push(text);
            log(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn last_lines_are_kept_and_long_ones_are_cut() {
        let mut written = (0..30).fold(String::new(), |all, n| all + &format!("line {n}\n\n"));
        written += &"x".repeat(5000);
        let tail = Tail::default();
        forward(Some(written.as_bytes()), |_| {}, tail.clone()).await;
        let lines = tail.snapshot();
        assert_eq!(lines.as_slice().len(), KEPT_LINES);
        assert_eq!(lines.as_slice()[0], "line 12");
        assert_eq!(lines.as_slice()[18].len(), 4096);
        assert_eq!(lines.as_slice()[19].len(), 904);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_do_no_harm() {
        let tail = Tail::default();
        forward(Some(&b"a\xff\r\nb"[..]), |_| {}, tail.clone()).await;
        assert_eq!(
            tail.snapshot().to_string(),
            "its last lines:\n    a\u{fffd}\n    b"
        );
    }
}
