//! The records of a simulation, and the promises that they are held against.

use super::*;

/// The executions and the outcomes of all requests.
#[derive(Default)]
pub(super) struct Records {
    /// In their order.
    executions: Vec<Execution>,
    outcomes: HashMap<u64, Outcome>,
    problems: Vec<String>,
}

struct Execution {
    urn: &'static str,
    client: u8,
    number: u64,
}

/// The end of a request.
pub(super) struct Outcome {
    pub(super) urn: &'static str,
    pub(super) answer: Result<u64, AskError>,
    pub(super) elapsed: Duration,
    pub(super) timeout: Duration,
    /// No event disturbs it.
    pub(super) is_calm: bool,
}

impl Records {
    pub(super) fn executed(&mut self, urn: &'static str, client: u8, number: u64) {
        self.executions.push(Execution {
            urn,
            client,
            number,
        });
    }

    pub(super) fn ended(&mut self, number: u64, outcome: Outcome) {
        self.outcomes.insert(number, outcome);
    }

    /// The promises that were broken.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        problems.extend(self.executed_twice());
        problems.extend(self.out_of_order());
        for (number, outcome) in &self.outcomes {
            problems.extend(self.problem_of(*number, outcome));
        }
        problems
    }

    fn executed_twice(&self) -> impl Iterator<Item = String> + '_ {
        let mut counts = HashMap::<u64, u32>::new();
        for execution in &self.executions {
            *counts.entry(execution.number).or_default() += 1;
        }
        let twice = counts.into_iter().filter(|(_, count)| *count > 1);
        twice.map(|(number, count)| format!("{number} was executed {count} times"))
    }

    /// The executions for a client and a listed name are in the order of its requests.
    fn out_of_order(&self) -> Vec<String> {
        let mut latest = HashMap::<(&str, u8), u64>::new();
        let mut problems = Vec::new();
        for Execution {
            urn,
            client,
            number,
        } in &self.executions
        {
            if *urn == SHARED {
                continue;
            }
            let before = latest.insert((urn, *client), *number);
            if let Some(before) = before.filter(|before| before > number) {
                problems.push(format!("{urn} executed {number} after {before}"));
            }
        }
        problems
    }

    fn problem_of(&self, number: u64, outcome: &Outcome) -> Option<String> {
        let Outcome {
            urn,
            answer,
            elapsed,
            timeout,
            is_calm,
        } = outcome;
        let is_executed = || self.executions.iter().any(|one| one.number == number);
        let problem = match answer {
            _ if *elapsed > *timeout + 100 * MS => format!("ended after {elapsed:?}"),
            Ok(answer) if *answer != number || !is_executed() => "has a wrong answer".to_owned(),
            Err(error) if *is_calm => format!("failed without a reason: {error}"),
            Err(error) if error.delivered() == Delivered::No && is_executed() => {
                format!("was executed, and not so by its error: {error}")
            }
            _ => return None,
        };
        Some(format!("{number} for {urn} {problem}"))
    }
}
