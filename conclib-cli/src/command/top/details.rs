//! The box with all of one actor, and the lines that it is wrapped into.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::command::top::state::Screen;
use crate::output::printable;

/// The width of a fact's name with the space behind it.
const NAME: usize = 13;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    screen: &Screen,
    details: &[(&'static str, String)],
    area: Rect,
) {
    let inner = usize::from(area.width.saturating_sub(2));
    let lines = wrapped(details, inner);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let area = Rect {
        height: height.saturating_add(2).min(area.height),
        ..area
    };
    let shown = usize::from(area.height.saturating_sub(2));
    let first = screen.scroll_to(lines.len().saturating_sub(shown));
    let last = (first + shown).min(lines.len());
    let title = if lines.len() > shown {
        format!(
            "actor (Esc: back) {}-{last} of {}, Up and Down: scroll",
            first + 1,
            lines.len()
        )
    } else {
        "actor (Esc: back)".to_owned()
    };
    frame.render_widget(Clear, area);
    let lines: Vec<_> = lines.into_iter().skip(first).take(shown).collect();
    let block = Block::bordered().title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// The facts as lines of this width: a long text goes on below its begin.
fn wrapped(details: &[(&'static str, String)], width: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(NAME).max(1);
    let mut lines = Vec::new();
    for (name, value) in details {
        let mut name = *name;
        for part in parts(&printable(value), room) {
            lines.push(Line::from(format!("{name:<12} {part}")));
            name = "";
        }
    }
    lines
}

/// Cuts a text into parts of this width, and at its line breaks.
fn parts(text: &str, width: usize) -> Vec<String> {
    let mut parts = Vec::new();
    for line in text.split('\n') {
        let (mut part, mut used) = (String::new(), 0);
        for c in line.chars() {
            let columns = Span::raw(c.to_string()).width();
            if used + columns > width && !part.is_empty() {
                parts.push(std::mem::take(&mut part));
                used = 0;
            }
            part.push(c);
            used += columns;
        }
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_on_below_their_begin() {
        let details = [("urn", "a/b".to_owned()), ("last failure", "x".repeat(25))];
        let lines = wrapped(&details, 23);
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let rest = format!("{:13}", "");
        assert_eq!(
            lines,
            [
                "urn          a/b".to_owned(),
                format!("last failure {}", "x".repeat(10)),
                format!("{rest}{}", "x".repeat(10)),
                format!("{rest}xxxxx"),
            ]
        );
    }

    #[test]
    fn parts_are_as_wide_as_they_look() {
        assert_eq!(parts("日本語", 4), ["日本", "語"]);
        assert_eq!(parts("ab\ncd", 9), ["ab", "cd"]);
        assert_eq!(parts("日本", 1), ["日", "本"]);
        assert_eq!(parts("", 5), [""]);
    }
}
