//! Answers about the messages that the actors of the process handle.

use crate::bus::inspect::member::{Answers, InspectedMember};
use crate::bus::inspect::message::{MAX_PAGE, Refusal, SchemaPage, SchemasQuery};
use crate::bus::server::skew_log::UndecodedMessage;
use crate::system::HandledMessage;

/// The most actor types of a message that are named.
const MAX_TYPES: usize = 20;

/// Size of an entry beside its texts, in bytes; at most.
const ENTRY_BYTES: usize = 64;

impl Answers<SchemasQuery> for InspectedMember {
    async fn answer(&mut self, query: SchemasQuery) -> Result<SchemaPage, Refusal> {
        let core = self.core()?;
        let types = core.types().len();
        let all = move || HandledMessage::all(&core);
        let messages = self.share.measure_many(types, all).await?;
        let undecoded = if query.after.is_none() {
            self.shared.skew_log.counts()
        } else {
            Vec::new()
        };
        Ok(page(messages, undecoded, &query, self.max_page_bytes()))
    }
}

/// The page of a list in the order of the names.
fn page(
    messages: Vec<HandledMessage>,
    mut undecoded: Vec<UndecodedMessage>,
    query: &SchemasQuery,
    max_bytes: usize,
) -> SchemaPage {
    let mut bytes = 0;
    let fitting = undecoded.iter().take_while(|message| {
        bytes += ENTRY_BYTES + message.message.len() + length(message.schema.as_deref());
        bytes <= max_bytes / 2
    });
    let fitting = fitting.count();
    undecoded.truncate(fitting);
    let after = query.after.as_deref();
    let mut messages: Vec<_> = messages
        .into_iter()
        .filter(|message| after.is_none_or(|after| *message.message > *after))
        .collect();
    for message in &mut messages {
        message.actor_types.truncate(MAX_TYPES);
    }
    let fitting = messages.iter().take(query.limit.clamp(1, MAX_PAGE));
    let fitting = fitting.take_while(|message| {
        bytes += size(message);
        bytes <= max_bytes
    });
    let shown = whole_names(&messages, fitting.count().max(1));
    let is_last = shown >= messages.len();
    messages.truncate(shown);
    let last = messages.last().filter(|_| !is_last);
    SchemaPage {
        next: last.map(|message| message.message.to_string()),
        messages,
        undecoded,
    }
}

/// The number of messages before the name that a cut behind `count` would divide. A name that is longer than a page loses its rest,
/// or the pages would never end.
fn whole_names(messages: &[HandledMessage], count: usize) -> usize {
    let Some(first_left) = messages.get(count) else {
        return messages.len();
    };
    let before = messages[..count].iter();
    let kept = before.filter(|message| message.message != first_left.message);
    match kept.count() {
        0 => count,
        kept => kept,
    }
}

fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

fn size(message: &HandledMessage) -> usize {
    let types = message.actor_types.iter().map(|name| 4 + name.len());
    ENTRY_BYTES + message.message.len() + length(message.schema.as_deref()) + types.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(names: &[&'static str]) -> Vec<HandledMessage> {
        let names = names.iter().enumerate();
        let message = |(number, name): (usize, &&'static str)| HandledMessage {
            message: (*name).into(),
            schema: Some(format!("{name} {{ field{number}: u8 }}").into()),
            actor_types: vec!["app::Worker".into()],
        };
        names.map(message).collect()
    }

    fn pages(names: &[&'static str], limit: usize, max_bytes: usize) -> Vec<Vec<String>> {
        let (mut query, mut pages) = (SchemasQuery::new().limit(limit), Vec::new());
        loop {
            let page = page(messages(names), Vec::new(), &query, max_bytes);
            let shown = page.messages.iter();
            pages.push(shown.map(|message| message.message.to_string()).collect());
            match page.next {
                None => return pages,
                Some(next) => query.after = Some(next),
            }
        }
    }

    #[test]
    fn all_schemas_of_a_name_are_on_one_page() {
        let names = ["A", "B", "B", "C"];
        assert_eq!(pages(&names, 500, 10_000), [names]);
        assert_eq!(
            pages(&names, 2, 10_000),
            [vec!["A"], vec!["B", "B"], vec!["C"]]
        );
        assert_eq!(pages(&names, 1, 10_000), [["A"], ["B"], ["C"]]);
        assert_eq!(pages(&names, 500, 1), [["A"], ["B"], ["C"]]);
        assert_eq!(pages(&[], 5, 10_000), [[""; 0]]);
    }

    #[test]
    fn pages_are_bounded() {
        let undecoded = |number: usize| UndecodedMessage {
            message: format!("Message{number}").into(),
            ..UndecodedMessage::default()
        };
        let undecoded: Vec<_> = (0..1_000).map(undecoded).collect();
        let mut many = messages(&["A"]);
        many[0].actor_types = vec!["app::Worker".into(); 1_000];
        let page = page(many, undecoded, &SchemasQuery::new(), 10_000);
        assert_eq!(page.messages[0].actor_types.len(), MAX_TYPES);
        assert!((10..100).contains(&page.undecoded.len()));
    }
}
