//! The state of the screen, and the effect of keys. No I/O.

use std::cell::Cell;
use std::collections::VecDeque;

use conclib::Urn;
use conclib::metrics::FailureRecord;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::command::actor;
use crate::command::filter::matches;
use crate::command::ls::SortName;
use crate::command::top::rates::History;
use crate::command::top::rows::{self, Row, View};
use crate::command::top::sample::{Sample, Wanted};

/// The number of failures that are kept for the list.
const MAX_FAILURES: usize = 256;

/// The effect of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The screen is drawn again.
    Draw,
    /// Members are looked at.
    Look,
    Quit,
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Screen {
    view: View,
    sort: SortName,
    filter: String,
    /// Keys go to the filter.
    is_typing: bool,
    is_paused: bool,
    selected: usize,
    /// The actor that is inspected.
    inspected: Option<(String, Urn)>,
    /// The first line of it that is shown. Only the screen knows how far it can go, and moves it back.
    scroll: Cell<usize>,
    last: Option<Sample>,
    history: History,
    failures: VecDeque<(String, FailureRecord)>,
}

impl Screen {
    pub(super) fn new(sort: SortName) -> Self {
        Self {
            view: View::Types,
            sort,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            selected: 0,
            inspected: None,
            scroll: Cell::new(0),
            last: None,
            history: History::default(),
            failures: VecDeque::new(),
        }
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    pub(super) fn sort(&self) -> SortName {
        self.sort
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn is_typing(&self) -> bool {
        self.is_typing
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn last(&self) -> Option<&Sample> {
        self.last.as_ref()
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The parts that the next look is to have.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            view: self.view,
            sort: self.sort,
            pattern: (!self.filter.is_empty()).then(|| self.pattern()),
            has_waits: self.view == View::Waits,
            details: self.inspected.clone(),
        }
    }

    /// The pattern of the filter: a text without a star may be anywhere.
    fn pattern(&self) -> String {
        if self.filter.contains('*') {
            self.filter.clone()
        } else {
            format!("*{}*", self.filter)
        }
    }

    /// Takes a look.
    pub(super) fn take(&mut self, mut sample: Sample) {
        for failure in sample.failures.drain(..) {
            if self.failures.len() == MAX_FAILURES {
                self.failures.pop_front();
            }
            self.failures.push_back(failure);
        }
        if sample.failure.is_none() {
            self.history.record(&sample);
        }
        self.last = Some(sample);
        self.selected = self.selected.min(self.table().1.len().saturating_sub(1));
    }

    /// Handles a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Reaction {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Reaction::Quit,
                KeyCode::Char('u') if self.is_typing => {
                    self.filter.clear();
                    Reaction::Draw
                }
                _ => Reaction::Draw,
            };
        }
        if self.is_typing {
            return self.type_filter(key.code);
        }
        match key.code {
            KeyCode::Char('q') => return Reaction::Quit,
            KeyCode::Esc if self.inspected.take().is_some() => {}
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                return Reaction::Look;
            }
            KeyCode::Char(digit @ '1'..='4') => {
                let place = digit as usize - '1' as usize;
                return self.show(View::ALL[place]);
            }
            KeyCode::Tab => {
                let place = View::ALL.iter().position(|view| *view == self.view);
                let next = place.map_or(0, |place| (place + 1) % View::ALL.len());
                return self.show(View::ALL[next]);
            }
            code if self.inspected.is_some() && self.scrolls(code) => {}
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(10),
            KeyCode::PageDown => self.select(self.selected + 10),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => {
                self.sort = next_sort(self.sort);
                return Reaction::Look;
            }
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Enter => return self.enter(),
            _ => {}
        }
        Reaction::Draw
    }

    /// Scrolls the inspected actor, if it is a key for that.
    fn scrolls(&self, key: KeyCode) -> bool {
        let first = self.scroll.get();
        self.scroll.set(match key {
            KeyCode::Up | KeyCode::Char('k') => first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => first.saturating_add(1),
            KeyCode::PageUp => first.saturating_sub(10),
            KeyCode::PageDown => first.saturating_add(10),
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => return false,
        });
        true
    }

    /// The first line of the inspected actor that is shown, `last` at most.
    pub(super) fn scroll_to(&self, last: usize) -> usize {
        self.scroll.set(self.scroll.get().min(last));
        self.scroll.get()
    }

    fn show(&mut self, view: View) -> Reaction {
        self.view = view;
        self.selected = 0;
        self.inspected = None;
        Reaction::Look
    }

    fn select(&mut self, row: usize) {
        self.selected = row.min(self.table().1.len().saturating_sub(1));
    }

    fn type_filter(&mut self, key: KeyCode) -> Reaction {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) => self.filter.push(c),
            _ => return Reaction::Draw,
        }
        self.selected = 0;
        Reaction::Look
    }

    /// Inspects the actor of the selected row, or shows the actors of its type.
    fn enter(&mut self) -> Reaction {
        let Some(row) = self.table().1.into_iter().nth(self.selected) else {
            return Reaction::Draw;
        };
        if let Some(actor) = row.actor {
            self.inspected = Some(actor);
            self.scroll.set(0);
            return Reaction::Look;
        }
        if row.actor_type.is_some() {
            return self.show(View::Actors);
        }
        Reaction::Draw
    }

    /// The facts of the inspected actor; `None` if none is inspected.
    pub(super) fn details(&self) -> Option<Vec<(&'static str, String)>> {
        let (node, urn) = self.inspected.as_ref()?;
        let details = self
            .last
            .as_ref()
            .and_then(|sample| sample.details.as_ref());
        Some(match details {
            Some(Ok(seen)) => actor::lines(seen),
            Some(Err(error)) => vec![("urn", urn.to_string()), ("", error.clone())],
            None => vec![("urn", urn.to_string()), ("node", node.clone())],
        })
    }

    /// The header of the list, and its rows that the filter accepts.
    pub(super) fn table(&self) -> (Vec<&'static str>, Vec<Row>) {
        let pattern = self.pattern();
        let accepts = |text: &str| self.filter.is_empty() || matches(&pattern, text);
        let rows = match (&self.last, self.view) {
            (None, _) => Vec::new(),
            (Some(_), View::Failures) => rows::of_failures(self.failures.iter(), accepts),
            (Some(sample), view) => rows::of_sample(sample, view, accepts),
        };
        (rows::header(self.view), rows)
    }
}

fn next_sort(sort: SortName) -> SortName {
    match sort {
        SortName::Oldest => SortName::Queued,
        SortName::Queued => SortName::Running,
        SortName::Running => SortName::Handled,
        SortName::Handled => SortName::Failures,
        SortName::Failures => SortName::Restarts,
        SortName::Restarts => SortName::Name,
        SortName::Name => SortName::Oldest,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use conclib::inspect::MemberStatus;

    use super::*;
    use crate::command::ls::TypeObject;
    use crate::command::top::rates::HISTORY;

    pub(in crate::command::top) fn sample(handled: u64, second: u64) -> Sample {
        let of_type = |name: &str, handled| TypeObject {
            node: "main".to_owned(),
            actor_type: format!("app::{name}"),
            actors: 3,
            busy: 1,
            restarting: 0,
            queued: 5,
            queued_max: 4,
            waiting_senders: 0,
            oldest_seconds: Some(1.5),
            oldest_urn: None,
            longest_running_seconds: None,
            handled,
            failures: 2,
            restarts: 1,
        };
        Sample {
            at: start() + Duration::from_secs(second),
            members: vec![("main".to_owned(), MemberStatus::default())],
            silent: Vec::new(),
            round_trip: Some(Duration::from_micros(300)),
            durable: None,
            dead: None,
            types: vec![of_type("Desk", handled), of_type("Shop", 7)],
            actors: Vec::new(),
            failures: Vec::new(),
            waits: Vec::new(),
            details: None,
            failure: None,
        }
    }

    impl Screen {
        /// Inspects an actor about which a member says this.
        pub(in crate::command::top) fn inspect_error(&mut self, text: &str) {
            self.inspected = Some(("main".to_owned(), "desk".parse().unwrap()));
            if let Some(sample) = &mut self.last {
                sample.details = Some(Err(text.to_owned()));
            }
        }
    }

    /// The moment that the looks of a test count from.
    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    pub(in crate::command::top) fn press(screen: &mut Screen, code: KeyCode) -> Reaction {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn rates_are_made_of_two_looks() {
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(sample(100, 0));
        assert_eq!(screen.history().rates(), None);
        screen.take(sample(150, 2));
        assert!((screen.history().rates().unwrap().handled - 25.0).abs() < 1e-9);
        assert_eq!(screen.history().sparks(), (vec![25], vec![0]));
        // A member that has started again counts from 0 on.
        screen.take(sample(10, 4));
        assert!(screen.history().rates().unwrap().handled.abs() < 1e-9);
        for second in 5..500 {
            screen.take(sample(10, second));
        }
        assert_eq!(screen.history().sparks().0.len(), HISTORY);
    }

    #[test]
    fn filter_is_typed_and_removed() {
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(sample(1, 0));
        assert_eq!(screen.table().1.len(), 2);
        press(&mut screen, KeyCode::Char('/'));
        for c in "shoq".chars() {
            press(&mut screen, KeyCode::Char(c));
        }
        assert!(screen.table().1.is_empty());
        screen.press(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert!(screen.is_typing() && screen.filter().is_empty());
        press(&mut screen, KeyCode::Esc);
        for c in "/Sh".chars() {
            press(&mut screen, KeyCode::Char(c));
        }
        // `q` is a letter here, and no command.
        assert!(screen.is_typing());
        assert_eq!(press(&mut screen, KeyCode::Enter), Reaction::Look);
        assert_eq!(screen.wanted().pattern.as_deref(), Some("*Sh*"));
        assert_eq!(screen.table().1.len(), 1);
        assert_eq!(press(&mut screen, KeyCode::Esc), Reaction::Look);
        assert_eq!((screen.table().1.len(), screen.wanted().pattern), (2, None));
    }

    #[test]
    fn keys_choose_view_order_and_row() {
        let mut screen = Screen::new(SortName::Oldest);
        screen.take(sample(1, 0));
        press(&mut screen, KeyCode::Down);
        press(&mut screen, KeyCode::Down);
        assert_eq!(screen.selected(), 1);
        assert_eq!(press(&mut screen, KeyCode::Enter), Reaction::Look);
        assert_eq!((screen.view(), screen.selected()), (View::Actors, 0));
        assert_eq!(press(&mut screen, KeyCode::Char('4')), Reaction::Look);
        assert!(screen.wanted().has_waits);
        press(&mut screen, KeyCode::Tab);
        assert_eq!(screen.view(), View::Types);
        press(&mut screen, KeyCode::Char('s'));
        assert_eq!(screen.sort(), SortName::Queued);
        press(&mut screen, KeyCode::Char('p'));
        assert!(screen.is_paused());
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Reaction::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(interrupt), Reaction::Quit);
    }

    #[test]
    fn each_order_has_its_turn() {
        let mut sort = SortName::Oldest;
        for _ in 0..7 {
            sort = next_sort(sort);
        }
        assert_eq!(sort, SortName::Oldest);
    }
}
