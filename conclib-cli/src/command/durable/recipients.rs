//! The actors that durable messages are for.

use std::collections::{BTreeMap, BTreeSet};

use conclib::inspect::{ActorQuery, InspectError, Inspector, Refusal};
use conclib::monitor::StoredMessage;
use conclib::{Config, Urn};

/// The most actors that the process is asked for.
const MAX_ASKED: usize = 256;

/// The actors that are asked for at a time.
const BATCH: usize = 16;

/// The states of actors by their URNs. One that is not known is left out.
#[derive(Debug, Default)]
pub(super) struct Recipients(BTreeMap<Urn, String>);

impl Recipients {
    /// Asks the process of the node for the recipients of messages. Those that it does not tell are not known: without a process, or the
    /// right to ask it, all.
    pub(super) async fn ask(config: &Config, node: &str, messages: &[StoredMessage]) -> Self {
        let urns = messages
            .iter()
            .filter_map(|message| message.urn.parse().ok());
        let urns: BTreeSet<Urn> = urns.collect();
        let mut known = Self::default();
        if urns.is_empty() {
            return known;
        }
        let Ok(inspector) = Inspector::connect(config).await else {
            return known;
        };
        let urns: Vec<_> = urns.into_iter().take(MAX_ASKED).collect();
        // The first one alone: a process that does not answer is waited for once.
        let (first, rest) = urns.split_at(1);
        for batch in [first].into_iter().chain(rest.chunks(BATCH)) {
            if !known.ask_batch(&inspector, node, batch).await {
                return known;
            }
        }
        known
    }

    /// Asks for several actors; false if the process does not answer.
    async fn ask_batch(&mut self, inspector: &Inspector, node: &str, urns: &[Urn]) -> bool {
        let mut asked = tokio::task::JoinSet::new();
        for urn in urns.iter().cloned() {
            let (inspector, node) = (inspector.clone(), node.to_owned());
            asked.spawn(async move {
                let answer = inspector.ask(&node, &ActorQuery::new(urn.clone())).await;
                (urn, answer)
            });
        }
        let mut has_answered = true;
        for (urn, answer) in asked.join_all().await {
            let state = match answer {
                Ok(details) => details.actor.phase.to_string(),
                Err(InspectError::Refused(Refusal::NoSuchActor { failed, .. })) => {
                    let is_failed = failed.is_some();
                    if is_failed { "failed" } else { "missing" }.to_owned()
                }
                Err(_) => {
                    has_answered = false;
                    continue;
                }
            };
            self.0.insert(urn, state);
        }
        has_answered
    }

    /// The state of an actor: its phase, `missing`, or `failed` if it has ended for good.
    pub(super) fn state(&self, urn: &str) -> Option<&str> {
        let urn: Urn = urn.parse().ok()?;
        self.0.get(&urn).map(String::as_str)
    }
}
