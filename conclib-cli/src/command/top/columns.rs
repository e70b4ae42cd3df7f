//! The columns of a list that fit a terminal. No I/O.

use crate::command::top::rows::View;

/// The width up to which a column has its whole texts before others are dropped, in characters.
const MAX_COLUMN: usize = 40;

/// The space between columns, in characters.
pub(super) const SPACING: usize = 2;

/// The columns that a narrow terminal does without, the least important first. Before these it does without the nodes, if there is one.
fn dispensable(view: View) -> &'static [&'static str] {
    match view {
        View::Types => &[
            "RESTARTS", "BUSY", "FAILURES", "RUNNING", "HANDLED", "ACTORS", "OLDEST", "NODE",
            "QUEUED",
        ],
        View::Actors => &[
            "FAILURES", "HANDLED", "TYPE", "PHASE", "QUEUED", "NODE", "RUNNING", "OLDEST",
        ],
        View::Failures => &[],
        View::Waits => &["SINCE", "UNTIL", "NODE"],
    }
}

/// The columns that fit, by their places, each with its width. Columns are dropped before texts of up to 40 characters are cut; room
/// that is left goes to longer ones.
pub(super) fn fitting(
    view: View,
    header: &[&str],
    rows: &[Vec<String>],
    width: usize,
) -> Vec<(usize, usize)> {
    let mut columns: Vec<_> = (0..header.len())
        .map(|place| (place, widest(header[place], rows, place)))
        .collect();
    let node = header.iter().position(|title| *title == "NODE");
    let is_one_node = node.is_some_and(|place| {
        let mut nodes = rows.iter().map(|row| row.get(place));
        let first = nodes.next();
        nodes.all(|node| Some(node) == first)
    });
    let nodes: &[&str] = if is_one_node { &["NODE"] } else { &[] };
    for dropped in nodes.iter().chain(dispensable(view)) {
        if capped(&columns) <= width {
            break;
        }
        columns.retain(|(place, _)| header[*place] != *dropped);
    }
    let mut spare = width.saturating_sub(capped(&columns));
    for (_, widest) in &mut columns {
        let shown = (*widest).min(MAX_COLUMN);
        let more = (*widest - shown).min(spare);
        spare -= more;
        *widest = shown + more;
    }
    columns
}

/// The width of the longest text of a column.
fn widest(title: &str, rows: &[Vec<String>], place: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(place));
    let widest = cells.map(|cell| cell.chars().count()).max();
    widest.unwrap_or(0).max(title.len())
}

/// The width of all columns with the spaces between them, each up to the bound.
fn capped(columns: &[(usize, usize)]) -> usize {
    let texts: usize = columns
        .iter()
        .map(|(_, width)| (*width).min(MAX_COLUMN))
        .sum();
    texts + SPACING * columns.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::top::rows::header;

    fn shown(view: View, cell: usize, width: usize) -> Vec<&'static str> {
        shown_of(view, &["x"], cell, width)
    }

    fn shown_of(view: View, nodes: &[&str], cell: usize, width: usize) -> Vec<&'static str> {
        let header = header(view);
        let row = |node: &&str| vec![node.repeat(cell); header.len()];
        let rows: Vec<_> = nodes.iter().map(row).collect();
        let columns = fitting(view, &header, &rows, width);
        let total: usize = columns.iter().map(|(_, width)| width + SPACING).sum();
        assert!(
            columns.len() == 1 || total - SPACING <= width,
            "{columns:?}"
        );
        columns.iter().map(|(place, _)| header[*place]).collect()
    }

    #[test]
    fn narrow_terminals_drop_the_least_important_columns() {
        assert_eq!(shown(View::Types, 8, 120), header(View::Types));
        assert_eq!(
            shown(View::Types, 8, 60),
            ["TYPE", "ACTORS", "QUEUED", "OLDEST", "RUNNING", "HANDLED"]
        );
        assert_eq!(
            shown_of(View::Types, &["x", "y"], 8, 60),
            ["NODE", "TYPE", "ACTORS", "QUEUED", "OLDEST", "HANDLED"]
        );
        assert_eq!(shown(View::Types, 8, 10), ["TYPE"]);
        assert_eq!(
            shown(View::Actors, 10, 60),
            ["URN", "PHASE", "QUEUED", "OLDEST", "RUNNING"]
        );
        assert_eq!(shown(View::Waits, 15, 40), ["ACTOR", "WAITS FOR"]);
        // Of all views, the column that says what the row is.
        assert_eq!(shown(View::Actors, 80, 20), ["URN"]);
        assert_eq!(shown(View::Failures, 200, 20), ["FAILURE"]);
    }

    #[test]
    fn long_texts_have_the_room_that_is_left() {
        let rows = vec![vec!["x".repeat(60), "y".repeat(5)]];
        let widths = |width| fitting(View::Waits, &["ACTOR", "UNTIL"], &rows, width);
        assert_eq!(widths(50), [(0, 43), (1, 5)]);
        assert_eq!(widths(100), [(0, 60), (1, 5)]);
    }

    #[test]
    fn dispensable_columns_are_there() {
        for view in View::ALL {
            let known = header(view);
            for column in dispensable(view) {
                assert!(known.contains(column), "{column}");
            }
        }
    }
}
