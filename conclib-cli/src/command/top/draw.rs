//! The screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, TableState};

use crate::command::top::rows::View;
use crate::command::top::sample::Sample;
use crate::command::top::state::Screen;
use crate::command::top::{columns, details};
use crate::output::{self, printable};

pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, has_color: bool) {
    let areas = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(3),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [header, lines, list, footer] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(header_lines(screen, has_color)), header);
    draw_history(frame, screen, lines, has_color);
    draw_list(frame, screen, list);
    frame.render_widget(Paragraph::new(footer_line(screen, footer.width)), footer);
    if let Some(details) = screen.details() {
        details::draw(frame, screen, &details, list);
    }
}

fn header_lines(screen: &Screen, has_color: bool) -> Vec<Line<'static>> {
    let Some(sample) = screen.last() else {
        return vec![Line::from("looking …")];
    };
    let alarm = if has_color {
        Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
    } else {
        Style::new().add_modifier(Modifier::BOLD)
    };
    if let Some(failure) = &sample.failure {
        let text = printable(&failure.text).replace('\n', " ");
        return vec![
            Line::styled(text, alarm),
            Line::from(failure.advice.clone()),
        ];
    }
    let mut lines = vec![
        Line::from(members(sample)),
        Line::from(flow(screen)),
        Line::from(stored(sample)),
    ];
    if let Some(silent) = sample.silent.first() {
        let more = match sample.silent.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let text = format!("no answer of {}: {}{more}", silent.node, silent.error);
        lines.push(Line::styled(printable(&text), alarm));
    }
    lines
}

fn members(sample: &Sample) -> String {
    let idle = sample
        .members
        .iter()
        .filter(|(_, status)| !status.is_serving)
        .count();
    let actors: usize = sample.members.iter().map(|(_, status)| status.actors).sum();
    let nodes: Vec<_> = sample
        .members
        .iter()
        .take(4)
        .map(|(node, _)| &**node)
        .collect();
    let more = if sample.members.len() > 4 {
        ", …"
    } else {
        ""
    };
    let idle = match idle {
        0 => String::new(),
        idle => format!(", {idle} not serving"),
    };
    let trip = sample
        .round_trip
        .map_or_else(|| "?".to_owned(), output::duration);
    let count = sample.members.len();
    format!(
        "members {count} ({}{more}){idle}   actors {actors}   Redis {trip}",
        nodes.join(", ")
    )
}

fn flow(screen: &Screen) -> String {
    let rates = screen.history().rates().unwrap_or_default();
    format!(
        "requests {:.0}/s   answers {:.0}/s ok, {:.0}/s failed",
        rates.requests, rates.ok, rates.failed
    )
}

/// The durable messages on the bus.
fn stored(sample: &Sample) -> String {
    let durable = sample.durable.as_ref().map(|durable| {
        format!(
            "durable {} stored, {} delayed",
            durable.stored, durable.delayed
        )
    });
    let dead = sample.dead.as_ref();
    let dead = dead.map(|dead| format!("dead letters {}", dead.stored));
    let parts: Vec<_> = [dead, durable].into_iter().flatten().collect();
    parts.join("   ")
}

fn draw_history(frame: &mut Frame<'_>, screen: &Screen, area: Rect, has_color: bool) {
    let [left, right] = Layout::horizontal([Constraint::Fill(2), Constraint::Fill(1)]).areas(area);
    let (handled, failed) = screen.history().sparks();
    let rates = screen.history().rates().unwrap_or_default();
    let color = |color| {
        if has_color {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    };
    for (area, title, rates, style) in [
        (
            left,
            format!("handled {:.0}/s", rates.handled),
            handled,
            color(Color::Green),
        ),
        (
            right,
            format!("failures {:.1}/s", rates.failures),
            failed,
            color(Color::Red),
        ),
    ] {
        let width = usize::from(area.width);
        let shown = &rates[rates.len().saturating_sub(width)..];
        let sparkline = Sparkline::default().data(shown).style(style);
        frame.render_widget(sparkline.block(Block::new().title(title)), area);
    }
}

fn draw_list(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let (header, rows) = screen.table();
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.cells.iter().map(|cell| printable(cell)).collect())
        .collect();
    let width = usize::from(area.width);
    let columns = columns::fitting(screen.view(), &header, &rows, width);
    let last = columns.len().saturating_sub(1);
    let widths = columns.iter().enumerate().map(|(number, (_, width))| {
        if number == last {
            Constraint::Fill(1)
        } else {
            Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX))
        }
    });
    let places = columns.iter().map(|(place, _)| *place);
    let cells = |cells: &[String]| -> Vec<Cell<'static>> {
        let cells = places.clone().filter_map(|place| cells.get(place).cloned());
        cells.map(Cell::from).collect()
    };
    let table = Table::new(rows.iter().map(|row| Row::new(cells(row))), widths)
        .header(
            Row::new(places.clone().map(|place| header[place]))
                .style(Style::new().add_modifier(Modifier::BOLD)),
        )
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .column_spacing(u16::try_from(columns::SPACING).unwrap_or(1));
    let mut state = TableState::new().with_selected(Some(screen.selected()));
    frame.render_stateful_widget(table, area, &mut state);
}

/// The keys, and the state of the filter. Where they do not fit, the least important ones are left out.
fn footer_line(screen: &Screen, width: u16) -> Line<'static> {
    if screen.is_typing() {
        return Line::from(format!(
            "filter: {}_   Enter: done, Esc: none",
            printable(screen.filter())
        ));
    }
    if screen.details().is_some() {
        return Line::from("Up Down PgUp PgDn Home End scroll   Esc back   q quit");
    }
    let views = View::ALL.iter().enumerate().map(|(place, view)| {
        let mark = if *view == screen.view() { "*" } else { "" };
        format!("{} {}{mark}", place + 1, view.name())
    });
    let views = views.collect::<Vec<_>>().join("  ");
    let filter = match screen.filter() {
        "" => "/ filter".to_owned(),
        filter => format!("/ {} (Esc: all)", printable(filter)),
    };
    let sort = format!("s by {:?}", screen.sort()).to_lowercase();
    let paused = if screen.is_paused() { "PAUSED" } else { "" };
    let mut parts = vec![
        format!("{views} "),
        filter,
        sort,
        "Enter inspect".to_owned(),
        "p pause".to_owned(),
        "q quit".to_owned(),
        paused.to_owned(),
    ];
    parts.retain(|part| !part.is_empty());
    for left_out in ["p pause", "s by ", "Enter"] {
        let text = parts.join("  ");
        if text.chars().count() <= usize::from(width) {
            break;
        }
        parts.retain(|part| !part.starts_with(left_out));
    }
    Line::from(parts.join("  "))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::*;
    use crate::command::ls::SortName;
    use crate::command::top::state::tests::{press, sample};

    /// The lines of a screen of this size.
    fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen, true)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content.chunks(usize::from(width));
        let line = |row: &[ratatui::buffer::Cell]| -> String {
            row.iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        rows.map(|row| line(row).trim_end().to_owned()).collect()
    }

    #[test]
    fn types_are_drawn_with_rates() {
        let mut screen = Screen::new(SortName::Oldest);
        assert!(drawn(&screen, 80, 24)[0].starts_with("looking"));
        screen.take(sample(100, 0));
        screen.take(sample(150, 1));
        let lines = drawn(&screen, 100, 24);
        assert!(lines[0].starts_with("members 1 (main)"), "{lines:#?}");
        assert!(lines[4].starts_with("handled 50/s"), "{lines:#?}");
        assert!(lines[7].starts_with("NODE  TYPE  ACTORS"), "{lines:#?}");
        assert!(lines[8].starts_with("main  Desk  3 "), "{lines:#?}");
        assert!(lines[23].starts_with("1 types*  2 actors"), "{lines:#?}");
    }

    #[test]
    fn narrow_terminals_show_whole_columns() {
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(sample(123_456_789, 0));
        let lines = drawn(&screen, 60, 24);
        let header = "TYPE  ACTORS  QUEUED  OLDEST  RUNNING  HANDLED    FAILURES";
        assert_eq!(lines[7], header, "{lines:#?}");
        assert!(lines[8].ends_with("  123456789  2"), "{lines:#?}");
        assert!(lines[23].ends_with("/ filter  q quit"), "{lines:#?}");
        assert_eq!(drawn(&screen, 30, 24)[7], "TYPE  ACTORS  QUEUED  OLDEST");
    }

    #[test]
    fn inspected_actor_scrolls() {
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(sample(1, 0));
        screen.inspect_error(
            &(1..=40)
                .map(|n| format!("line {n}"))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        let first = |lines: &[String]| lines[8].clone();
        let lines = drawn(&screen, 60, 20);
        assert!(
            lines[7].contains("1-10 of 41, Up and Down: scroll"),
            "{lines:#?}"
        );
        assert!(first(&lines).contains("urn"), "{lines:#?}");
        assert!(lines[19].starts_with("Up Down PgUp PgDn"), "{lines:#?}");
        press(&mut screen, KeyCode::Down);
        assert!(first(&drawn(&screen, 60, 20)).contains("line 1 "));
        press(&mut screen, KeyCode::PageDown);
        assert!(first(&drawn(&screen, 60, 20)).contains("line 11 "));
        press(&mut screen, KeyCode::End);
        let end = drawn(&screen, 60, 20);
        assert!(end[17].contains("line 40 "), "{end:#?}");
        // Beyond the end there is nothing to come back from.
        press(&mut screen, KeyCode::Down);
        drawn(&screen, 60, 20);
        press(&mut screen, KeyCode::Up);
        assert!(drawn(&screen, 60, 20)[17].contains("line 39 "));
        press(&mut screen, KeyCode::Home);
        assert!(first(&drawn(&screen, 60, 20)).contains("urn"));
        assert_eq!(screen.selected(), 0);
    }

    #[test]
    fn small_terminals_do_no_harm() {
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(sample(100, 0));
        for (width, height) in [(1, 1), (10, 3), (30, 8), (300, 5)] {
            drawn(&screen, width, height);
        }
        press(&mut screen, KeyCode::Char('/'));
        assert!(drawn(&screen, 40, 12)[11].starts_with("filter: _"));
    }

    #[test]
    fn silent_members_and_failures_are_said() {
        let mut silent = sample(1, 0);
        silent.silent.push(crate::command::inspection::Silent {
            node: "eu-2".to_owned(),
            error: "it was\x1b[2J killed".to_owned(),
        });
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(silent);
        let lines = drawn(&screen, 80, 24);
        assert_eq!(lines[3], "no answer of eu-2: it was\u{fffd}[2J killed");
        let mut failed = sample(1, 1);
        failed.failure = Some(crate::exit::Failure::usage("no Redis"));
        screen.take(failed);
        assert_eq!(drawn(&screen, 80, 24)[0], "no Redis");
    }
}
