//! `top`: all members at a glance, again and again.
//!
//! - [`sample`]: one look at the members; [`object`]: a look as JSON
//! - [`state`]: the state of the screen, and the effect of keys; [`rows`] of its lists; [`rates`] between looks (pure)
//! - [`draw`]: the screen; [`columns`] that fit it, and the box with the [`details`] of an actor

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use conclib::Config;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;

use crate::command::ls::SortName;
use crate::exit::{Exit, Failure};
use crate::output::{Output, has_no_color};
use crate::time::parse_duration;
use object::TopObject;
use rows::View;
use sample::{Sampler, Wanted};
use state::{Reaction, Screen};

mod columns;
mod details;
mod draw;
mod object;
mod rates;
mod rows;
mod sample;
mod state;

/// Events that wait to be handled, such as keys that are held.
const MAX_EVENTS: usize = 64;

/// Show all members, types and actors on the whole terminal, again and again
///
/// Keys: 1 types, 2 actors, 3 failures, 4 waits; Up and Down select, Enter inspects an actor (Up and Down scroll there, Esc
/// leaves), / filters, s changes the order, p pauses, q quits. A narrow terminal shows fewer columns.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Time between two looks, at least 200ms
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = parse_duration)]
    interval: Duration,
    /// Order of types and actors
    #[arg(long, value_enum, default_value_t)]
    sort: SortName,
    /// Look once, print the types, and end; with --json all of it
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        if !self.once && (!io::stdout().is_terminal() || !io::stdin().is_terminal()) {
            return Err(
                Failure::usage("top needs a terminal").advise("give --once, or --once --json")
            );
        }
        let mut sampler = Sampler::connect(config).await?;
        if self.once {
            return self.look_once(&mut sampler, output).await;
        }
        let mut screen = Screen::new(self.sort);
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let mut terminal = ratatui::try_init().map_err(|error| no_terminal(&error))?;
        // It ends with the process: a read of a key cannot be interrupted.
        std::thread::spawn(move || read_keys(&sender));
        let ended = self
            .show(&mut terminal, &mut sampler, &mut screen, events)
            .await;
        ratatui::restore();
        ended.map_err(|error| no_terminal(&error))
    }

    async fn look_once(self, sampler: &mut Sampler, output: Output) -> Result<(), Failure> {
        let sample = sampler.sample(&Wanted::all(self.sort)).await;
        if let Some(failure) = sample.failure {
            return Err(failure);
        }
        if output.json {
            return output.json(&TopObject::from(&sample));
        }
        let mut screen = Screen::new(self.sort);
        screen.take(sample);
        let (header, rows) = screen.table();
        output.table(&header, rows.into_iter().map(|row| row.cells).collect())
    }

    /// Draws, and looks again at each interval and after keys that want it.
    async fn show(
        &self,
        terminal: &mut DefaultTerminal,
        sampler: &mut Sampler,
        screen: &mut Screen,
        mut events: mpsc::Receiver<Option<KeyEvent>>,
    ) -> io::Result<()> {
        let has_color = !has_no_color();
        let mut looks = tokio::time::interval(self.interval.max(Duration::from_millis(200)));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let signal = conclib::service::shutdown_signal();
        tokio::pin!(signal);
        loop {
            terminal.draw(|frame| draw::draw(frame, screen, has_color))?;
            let reaction = tokio::select! {
                biased;
                () = &mut signal => return Ok(()),
                event = events.recv() => match event {
                    Some(Some(key)) => screen.press(key),
                    Some(None) => Reaction::Draw, // another size
                    None => return Ok(()), // the terminal is gone
                },
                _ = looks.tick() => if screen.is_paused() { Reaction::Draw } else { Reaction::Look },
            };
            match reaction {
                Reaction::Quit => return Ok(()),
                Reaction::Draw => {}
                Reaction::Look => {
                    let wanted = screen.wanted();
                    let looked = tokio::select! {
                        () = &mut signal => return Ok(()),
                        sample = sampler.sample(&wanted) => sample,
                    };
                    screen.take(looked);
                }
            }
        }
    }
}

/// Sends keys, and `None` for another size of the terminal, until it is gone.
fn read_keys(sender: &mpsc::Sender<Option<KeyEvent>>) {
    while let Ok(event) = event::read() {
        let event = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => Some(key),
            Event::Resize(..) => None,
            _ => continue,
        };
        if sender.blocking_send(event).is_err() {
            return;
        }
    }
}

fn no_terminal(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "terminal",
        format!("the terminal cannot be used: {error}"),
    )
}

impl Wanted {
    /// All parts, for one look.
    fn all(sort: SortName) -> Self {
        Self {
            view: View::Types,
            sort,
            pattern: None,
            has_waits: true,
            details: None,
        }
    }
}
