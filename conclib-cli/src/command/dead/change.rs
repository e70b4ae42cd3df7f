//! `dead replay` and `dead rm`.

use clap::Args;
use conclib::durable::{DeadLetter, DeadLetters};
use serde::Serialize;

use crate::command::confirm::confirm;
use crate::command::dead::Choice;
use crate::exit::{Exit, Failure};
use crate::output::{Output, printable};

#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Ids of dead letters, as listed
    ids: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// All dead letters
    #[arg(long, help_heading = "Options")]
    all: bool,
    /// Do it without a question
    #[arg(long, help_heading = "Options")]
    yes: bool,
}

/// A change of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Replay,
    Remove,
}

impl Action {
    fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Remove => "removed",
        }
    }
}

/// A dead letter that is to be changed, without its contents.
struct Chosen {
    id: String,
    urn: String,
    message: String,
    key: String,
}

impl From<DeadLetter> for Chosen {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            urn: letter.urn,
            message: letter.message,
            key: letter.key,
        }
    }
}

/// The outcome of a change, as JSON.
#[derive(Default, Serialize)]
struct Outcome {
    /// The number of dead letters that were chosen.
    chosen: usize,
    /// Dead letters that were replayed or removed.
    changed: usize,
    /// These dead letters.
    letters: Vec<Changed>,
    /// The ids of those that were there no more.
    missing: Vec<String>,
}

/// A dead letter that was replayed or removed.
#[derive(Serialize)]
struct Changed {
    id: String,
    urn: String,
    message: String,
    key: String,
    /// The id of the message that it is now; `null` if it was removed.
    new_id: Option<String>,
}

impl Changed {
    /// A line for people, and their records.
    fn line(&self, action: Action) -> String {
        let Self {
            id,
            urn,
            message,
            key,
            new_id,
        } = self;
        let done = action.done();
        let new_id = new_id.as_ref();
        let now = new_id.map_or_else(String::new, |id| format!(", now {id}"));
        printable(&format!("{done} {id}: {message} for {urn}, key {key}{now}"))
    }
}

impl Change {
    /// Checks that dead letters are chosen in one way.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let ways = [!self.ids.is_empty(), !self.choice.is_empty(), self.all];
        match ways.into_iter().filter(|way| *way).count() {
            0 => Err(Failure::usage("no dead letters are chosen")
                .advise("give ids, a filter such as --urn, or --all")),
            1 => Ok(()),
            _ => Err(Failure::usage(
                "give ids, a filter, or --all, and not several of them",
            )),
        }
    }

    pub(super) async fn run(
        self,
        dead: &DeadLetters,
        output: Output,
        action: Action,
    ) -> Result<(), Failure> {
        let mut outcome = Outcome::default();
        let chosen = if self.ids.is_empty() {
            self.choose(dead, output, action).await?
        } else {
            self.named(dead, &mut outcome).await?
        };
        outcome.chosen = chosen.len() + outcome.missing.len();
        let ended = change(dead, output, chosen, action, &mut outcome).await;
        report(output, &outcome, action)?;
        ended?;
        if outcome.missing.is_empty() {
            return Ok(());
        }
        let ids = outcome.missing.join(", ");
        let text = format!("no dead letter has the id {ids}");
        Err(Failure::new(Exit::Pointless, "not_found", text))
    }

    /// The dead letters with the ids that were given.
    async fn named(
        &self,
        dead: &DeadLetters,
        outcome: &mut Outcome,
    ) -> Result<Vec<Chosen>, Failure> {
        let mut chosen = Vec::new();
        for id in &self.ids {
            match dead.get(id).await? {
                Some(letter) => chosen.push(letter.into()),
                None => outcome.missing.push(id.clone()),
            }
        }
        Ok(chosen)
    }

    /// Many dead letters, with the user's consent.
    async fn choose(
        &self,
        dead: &DeadLetters,
        output: Output,
        action: Action,
    ) -> Result<Vec<Chosen>, Failure> {
        // Their contents are not kept.
        let chosen = self.choice.read(dead, usize::MAX, Chosen::from).await?;
        let count = chosen.len();
        let noun = if count == 1 { "letter" } else { "letters" };
        output.note_to_people(&format!("{count} dead {noun}"));
        if count > 0 {
            let verb = match action {
                Action::Replay => "Deliver again",
                Action::Remove => "Remove for good:",
            };
            let question = format!("{verb} {count} dead {noun}?");
            confirm(&question, output, self.yes).await?;
        }
        Ok(chosen)
    }
}

/// Replays or removes dead letters, one after another in their order, and prints a line for each: it is the record of the change, which
/// no process logs.
async fn change(
    dead: &DeadLetters,
    output: Output,
    chosen: Vec<Chosen>,
    action: Action,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    for letter in chosen {
        let id = &letter.id;
        let done = match action {
            Action::Replay => dead.replay(id).await.map(|new_id| new_id.map(Some)),
            Action::Remove => dead.delete(id).await.map(|done| done.then_some(None)),
        };
        let done = done.map_err(|error| {
            let mut failure = Failure::from(error);
            let Outcome {
                changed, chosen, ..
            } = outcome;
            let before = format!("{changed} of {chosen} were done; then, at {id}: ");
            failure.text.insert_str(0, &before);
            failure
        })?;
        let Some(new_id) = done else {
            outcome.missing.push(letter.id);
            continue;
        };
        outcome.changed += 1;
        let changed = Changed {
            id: letter.id,
            urn: letter.urn,
            message: letter.message,
            key: letter.key,
            new_id,
        };
        if output.json {
            outcome.letters.push(changed);
        } else {
            output.line(&changed.line(action))?;
        }
    }
    Ok(())
}

fn report(output: Output, outcome: &Outcome, action: Action) -> Result<(), Failure> {
    if output.json {
        return output.json(outcome);
    }
    output.line(&format!("{} {}", action.done(), outcome.changed))
}
